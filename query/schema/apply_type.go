package schema

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"nodedb/query/types"
)

func asError(err error, target **Error) bool { return errors.As(err, target) }

// checkNesting refuses counters in anything, and durations where values are ordered. (types.Parse refuses multi-cell
// types inside others.)
func checkNesting(t *types.Type) error {
	for _, el := range t.Elems {
		if el.Kind == types.Counter {
			return invalid("Counters are not allowed inside collections: %s", t)
		}
		if el.Kind == types.Duration && (t.Kind == types.Set || (t.Kind == types.Map && el == t.Elems[0])) {
			return invalid("Durations are not allowed inside sets or as map keys: %s", t)
		}
		if t.Kind == types.UDT {
			continue // checked when the type was made
		}
		if err := checkNesting(el); err != nil {
			return err
		}
	}
	return nil
}

// references reports whether a type is or contains a user type.
func references(t *types.Type, name string) bool {
	if t.Kind == types.UDT && t.Name == name {
		return true
	}
	return slices.ContainsFunc(t.Elems, func(e *types.Type) bool { return references(e, name) })
}

// replaced gives t with the user type of udt's name replaced by udt, sharing what doesn't change.
func replaced(t, udt *types.Type) *types.Type {
	if !references(t, udt.Name) {
		return t
	}
	n := *t
	if t.Kind == types.UDT && t.Name == udt.Name {
		n.Fields, n.Elems = udt.Fields, udt.Elems
		return &n
	}
	n.Elems = make([]*types.Type, len(t.Elems))
	for i, e := range t.Elems {
		n.Elems[i] = replaced(e, udt)
	}
	return &n
}

func (e *edit) createType() (Target, error) {
	k, err := e.keyspace()
	if err != nil {
		return Target{}, err
	}
	name := e.ch.Name
	if _, ok := k.Types[name]; ok {
		if e.ch.IfExists {
			return Target{}, nil
		}
		return Target{}, &Error{Kind: ErrExists, Msg: "A user type with name '" + name + "' already exists"}
	}
	if err := checkName("Type", name, MaxName); err != nil {
		return Target{}, err
	}
	t := &types.Type{Kind: types.UDT, Keyspace: k.Name, Name: name}
	if err := e.addFields(k, t); err != nil {
		return Target{}, err
	}
	e.own(k).Types[name] = t
	return Target{"CREATED", "TYPE", k.Name, name}, nil
}

// addFields appends the change's columns to a type that is still ours.
func (e *edit) addFields(k *Keyspace, t *types.Type) error {
	for _, d := range e.ch.Columns {
		if slices.Contains(t.Fields, d.Name) {
			if e.ch.IfColumn {
				continue
			}
			if e.ch.Op == CreateType {
				return about(d.Name, invalid("Duplicate field name '%s' in type '%s'", d.Name, t.Name))
			}
			return about(d.Name, invalid("Cannot add field %s to type %s.%s: a field with name %s already exists", d.Name, t.Keyspace, t.Name, d.Name))
		}
		ft, err := k.parse(d.Name, d.Type)
		switch {
		case err != nil:
			return about("TYPE "+d.Name, err)
		case ft.Kind == types.Counter:
			return about(d.Name, invalid("A user type cannot contain counters"))
		case ft.Kind == types.UDT && ft.IsMultiCell():
			return about(d.Name, invalid("A user type cannot contain non-frozen UDTs"))
		case references(ft, t.Name):
			return about(d.Name, invalid("Cannot add new field %s of type %s to user type %s as it would create a circular reference", d.Name, d.Type, t.Name))
		case len(t.Fields) == MaxColumns:
			return invalid("User type %s would have more than %d fields", t.Name, MaxColumns)
		}
		t.Fields, t.Elems = append(t.Fields, d.Name), append(t.Elems, ft)
	}
	return nil
}

func (e *edit) alterType() (Target, error) {
	k, err := e.keyspace()
	var old *types.Type
	if err == nil {
		old = k.Types[e.ch.Name]
	}
	if old == nil {
		if e.ch.IfExists {
			return Target{}, nil
		}
		return Target{}, missing("Type %s.%s doesn't exist", e.ch.Keyspace, e.ch.Name)
	}
	t := *old
	t.Fields, t.Elems = slices.Clone(old.Fields), slices.Clone(old.Elems)
	if len(e.ch.Columns) > 0 {
		if users := k.keysOf(t.Name); len(users) > 0 {
			return Target{}, invalid("Cannot add new field %s of type %s to user type %s as the type is being used in partition key by the following tables: %s",
				e.ch.Columns[0].Name, e.ch.Columns[0].Type, t.Name, strings.Join(users, ", "))
		}
	}
	if err := e.addFields(k, &t); err != nil {
		return Target{}, err
	}
	if err := e.renameFields(&t); err != nil {
		return Target{}, err
	}
	if slices.Equal(t.Fields, old.Fields) {
		return Target{}, nil // by IF [NOT] EXISTS of fields
	}
	e.own(k).swapType(&t, e.next.Epoch)
	return Target{"UPDATED", "TYPE", k.Name, t.Name}, nil
}

func (e *edit) renameFields(t *types.Type) error {
	before := slices.Clone(t.Fields)
	for _, p := range e.ch.Renamed {
		i := slices.Index(before, p[0])
		if i < 0 {
			if e.ch.IfColumn {
				continue
			}
			return about(p[0], invalid("Unknown field %s in user type %s", p[0], t.Name))
		}
		t.Fields[i] = p[1]
	}
	for i, f := range t.Fields {
		if slices.Contains(t.Fields[:i], f) {
			return invalid("Duplicate field name %s in type %s", f, t.Name)
		}
	}
	return nil
}

// keysOf names the tables whose partition key contains a user type.
func (k *Keyspace) keysOf(udt string) (tables []string) {
	for _, name := range slices.Sorted(maps.Keys(k.Tables)) {
		if slices.ContainsFunc(k.Tables[name].PartitionKey, func(c *Column) bool { return references(c.Type, udt) }) {
			tables = append(tables, k.Name+"."+name)
		}
	}
	return tables
}

// swapType puts a new version of a user type everywhere it is used. k is the edit's own.
func (k *Keyspace) swapType(udt *types.Type, epoch uint64) {
	k.Types[udt.Name] = udt
	for name, t := range k.Types {
		if name != udt.Name {
			k.Types[name] = replaced(t, udt)
		}
	}
	for name, t := range k.Tables {
		if slices.ContainsFunc(t.Columns, func(c *Column) bool { return references(c.Type, udt.Name) }) {
			k.Tables[name] = t.rebuilt(epoch, func(c *Column) { c.Type = replaced(c.Type, udt) })
		}
	}
}

func (e *edit) dropType() (Target, error) {
	k, err := e.keyspace()
	var old *types.Type
	if err == nil {
		old = k.Types[e.ch.Name]
	}
	if old == nil {
		if e.ch.IfExists {
			return Target{}, nil
		}
		return Target{}, missing("Type '%s.%s' doesn't exist", e.ch.Keyspace, e.ch.Name)
	}
	if users := k.typesUsing(old.Name); len(users) > 0 {
		return Target{}, invalid("Cannot drop user type '%s.%s' as it is still used by user types %s", k.Name, old.Name, strings.Join(users, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(k.Tables)) {
		if slices.ContainsFunc(k.Tables[name].Columns, func(c *Column) bool { return references(c.Type, old.Name) }) {
			return Target{}, invalid("Cannot drop user type '%s.%s' as it is still used by tables %s", k.Name, old.Name, name)
		}
	}
	delete(e.own(k).Types, old.Name)
	return Target{"DROPPED", "TYPE", k.Name, old.Name}, nil
}

func (k *Keyspace) typesUsing(udt string) (users []string) {
	for _, name := range slices.Sorted(maps.Keys(k.Types)) {
		if name != udt && references(k.Types[name], udt) {
			users = append(users, name)
		}
	}
	return users
}
