package schema

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nodedb/query/types"
	"nodedb/vnodes"
)

// Limits of a schema. They are part of the state machine: all nodes have to agree on them.
const (
	MaxName        = 48   // characters in the name of a keyspace or type
	MaxTableName   = 222  // and of a table, as in Cassandra, which makes a folder of it
	MaxReplication = 255  // replicas of one keyspace in one DC
	MaxColumns     = 4096 // live columns of a table, fields of a type
	MaxTables      = 10000
	maxColumnID    = 65000 // ids ever given in a table; they are never reused
)

const (
	simpleStrategy   = "SimpleStrategy"
	topologyStrategy = "NetworkTopologyStrategy"
	locatorPackage   = "org.apache.cassandra.locator."
	factorOption     = "replication_factor"
)

var goodName = regexp.MustCompile(`^[a-zA-Z0-9_]+$`)

// checkName holds a new name to what Cassandra allows.
func checkName(what, name string, most int) error {
	if !goodName.MatchString(name) {
		return invalid("%s name must not be empty and must contain alphanumeric or underscore characters only (got %q)", what, name)
	}
	if len(name) > most {
		return invalid("%s name must not be more than %d characters long (got %d characters for %q)", what, most, len(name), name)
	}
	return nil
}

// Apply validates a change and gives the catalog after it, at the metadata epoch. A no-op by IF [NOT] EXISTS gives c
// itself and a zero Target, and so does a change that changes nothing. It is deterministic: the same on every node. Errors wrap the sentinels and read well to a
// person.
func (c *Catalog) Apply(ch *Change, epoch uint64) (*Catalog, Target, error) {
	if IsSystem(ch.Keyspace) {
		return nil, Target{}, invalid("%s keyspace is not user-modifiable.", ch.Keyspace)
	}
	e := &edit{next: &Catalog{Epoch: epoch, Keyspaces: maps.Clone(c.Keyspaces), Highest: c.Highest}, ch: ch}
	target, err := e.apply()
	if err != nil {
		return nil, Target{}, err
	}
	if target == (Target{}) {
		return c, target, nil
	}
	e.next.seal()
	return e.next, target, nil
}

// IsSystem reports whether a keyspace belongs to the system: no change may touch it.
func IsSystem(keyspace string) bool {
	switch keyspace {
	case "system", "system_schema", "system_auth", "system_distributed", "system_traces", "system_virtual_schema", "system_views", "system_metrics":
		return true
	}
	return false
}

// edit is one change being applied to a shallow copy of the catalog: whatever it alters it copies first.
type edit struct {
	next *Catalog
	ch   *Change
}

func (e *edit) apply() (Target, error) {
	switch e.ch.Op {
	case CreateKeyspace:
		return e.createKeyspace()
	case AlterKeyspace:
		return e.alterKeyspace()
	case DropKeyspace:
		return e.dropKeyspace()
	case CreateTable:
		return e.createTable()
	case AlterTable:
		return e.alterTable()
	case DropTable:
		return e.dropTable()
	case TruncateTable:
		return e.truncate()
	case CreateType:
		return e.createType()
	case AlterType:
		return e.alterType()
	case DropType:
		return e.dropType()
	}
	return Target{}, invalid("Unknown schema change %d: this nodedb is too old for it", e.ch.Op)
}

// own gives the keyspace's copy that this edit may change.
func (e *edit) own(k *Keyspace) *Keyspace {
	n := *k
	n.Tables, n.Types, n.Epoch = maps.Clone(k.Tables), maps.Clone(k.Types), e.next.Epoch
	e.next.Keyspaces[n.Name] = &n
	return &n
}

func (e *edit) createKeyspace() (Target, error) {
	name := e.ch.Keyspace
	if err := checkName("Keyspace", name, MaxName); err != nil {
		return Target{}, err
	}
	if _, ok := e.next.Keyspaces[name]; ok {
		if e.ch.IfExists {
			return Target{}, nil
		}
		return Target{}, &Error{Kind: ErrExists, Msg: "Cannot add existing keyspace \"" + name + "\"", Keyspace: name}
	}
	class := strings.TrimPrefix(e.ch.Class, locatorPackage)
	rep, err := replication(name, class, e.ch.Replication)
	if err != nil {
		return Target{}, about("WITH replication", err)
	}
	durable := e.ch.Durable == nil || *e.ch.Durable
	e.next.Keyspaces[name] = &Keyspace{
		Name: name, Class: class, Options: maps.Clone(e.ch.Replication), Replication: rep, DurableWrites: durable,
		Tables: map[string]*Table{}, Types: map[string]*types.Type{}, Epoch: e.next.Epoch,
	}
	return Target{"CREATED", "KEYSPACE", name, ""}, nil
}

// replication checks a strategy and its options.
func replication(keyspace, class string, options map[string]string) (vnodes.Replication, error) {
	var rep vnodes.Replication
	switch class {
	case "":
		return rep, badOption("Missing replication strategy class")
	case simpleStrategy:
		for _, k := range slices.Sorted(maps.Keys(options)) {
			if k != factorOption {
				return rep, badOption("Unrecognized strategy option {%s} passed to SimpleStrategy for keyspace %s", k, keyspace)
			}
		}
		text, ok := options[factorOption]
		if !ok {
			return rep, badOption("SimpleStrategy requires a replication_factor strategy option.")
		}
		var err error
		rep.Factor, err = factor(text, 1)
		return rep, err
	case topologyStrategy:
		return topology(options)
	}
	return rep, badOption("Unable to find replication strategy class '%s%s'; there are SimpleStrategy and NetworkTopologyStrategy", locatorPackage, class)
}

func topology(options map[string]string) (rep vnodes.Replication, err error) {
	if _, ok := options[factorOption]; ok {
		return rep, badOption("replication_factor of NetworkTopologyStrategy has to be expanded to datacenters before it is proposed")
	}
	if len(options) == 0 {
		return rep, badOption("Configuration for at least one datacenter must be present")
	}
	rep.Datacenters = make(map[string]int, len(options))
	total := 0
	for _, dc := range slices.Sorted(maps.Keys(options)) {
		n, err := factor(options[dc], 0)
		if err != nil {
			return rep, err
		}
		rep.Datacenters[dc] = n
		total += n
	}
	if total == 0 {
		return rep, badOption("At least one datacenter needs a replication factor over 0")
	}
	return rep, nil
}

func factor(text string, least int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, badOption("Replication factor must be numeric; found %s", text)
	}
	if n < least || n > MaxReplication {
		return 0, badOption("Replication factor must be between %d and %d; found %d", least, MaxReplication, n)
	}
	return n, nil
}

func (e *edit) alterKeyspace() (Target, error) {
	name := e.ch.Keyspace
	old, ok := e.next.Keyspaces[name]
	if !ok {
		if e.ch.IfExists {
			return Target{}, nil
		}
		return Target{}, missing("Keyspace '%s' doesn't exist", name)
	}
	class, options := old.Class, old.Options
	if e.ch.Class != "" || len(e.ch.Replication) > 0 {
		class, options = strings.TrimPrefix(e.ch.Class, locatorPackage), maps.Clone(e.ch.Replication)
	}
	rep, err := replication(name, class, options)
	if err != nil {
		return Target{}, about("WITH replication", err)
	}
	if class == old.Class && maps.Equal(options, old.Options) && (e.ch.Durable == nil || *e.ch.Durable == old.DurableWrites) {
		return Target{}, nil
	}
	k := e.own(old)
	k.Class, k.Options, k.Replication = class, options, rep
	if e.ch.Durable != nil {
		k.DurableWrites = *e.ch.Durable
	}
	// A request's fence compares its table's epoch: placement is part of what a table's plans and replicas depend on.
	for n, t := range k.Tables {
		k.Tables[n] = t.at(e.next.Epoch)
	}
	return Target{"UPDATED", "KEYSPACE", name, ""}, nil
}

// at gives a copy of the table at another epoch; its parts are shared.
func (t *Table) at(epoch uint64) *Table {
	n := *t
	n.Epoch = epoch
	return &n
}

func (e *edit) dropKeyspace() (Target, error) {
	name := e.ch.Keyspace
	if _, ok := e.next.Keyspaces[name]; !ok {
		if e.ch.IfExists {
			return Target{}, nil
		}
		return Target{}, missing("Keyspace '%s' doesn't exist", name)
	}
	delete(e.next.Keyspaces, name)
	return Target{"DROPPED", "KEYSPACE", name, ""}, nil
}

// keyspace finds the keyspace that a change names. ok is false for a no-op by IF EXISTS.
func (e *edit) keyspace() (*Keyspace, error) {
	k, ok := e.next.Keyspaces[e.ch.Keyspace]
	if !ok {
		return nil, missing("Keyspace '%s' doesn't exist", e.ch.Keyspace)
	}
	return k, nil
}

// resolve finds a user type for types.Parse.
func (k *Keyspace) resolve(keyspace, name string) (*types.Type, error) {
	if keyspace != "" && keyspace != k.Name {
		return nil, invalid("Statement on keyspace %s cannot refer to a user type in keyspace %s; user types can only be used in the keyspace they are defined in", k.Name, keyspace)
	}
	t, ok := k.Types[name]
	if !ok {
		return nil, invalid("Unknown type %s.%s", k.Name, name)
	}
	return t, nil
}

// parse reads a column's or field's type.
func (k *Keyspace) parse(column, text string) (*types.Type, error) {
	t, err := types.Parse(text, k.resolve)
	if err != nil {
		if se := (*Error)(nil); asError(err, &se) {
			return nil, se
		}
		return nil, invalid("Type %s of %s: %v", text, column, err)
	}
	if err := checkNesting(t); err != nil {
		return nil, err
	}
	return t, nil
}
