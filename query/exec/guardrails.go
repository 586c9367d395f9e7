package exec

import (
	"fmt"
	"slices"
	"strings"

	"nodedb/coordinator/consistency"
	"nodedb/node/config"
	"nodedb/query/cql"
	"nodedb/query/plan"
	"nodedb/query/wire"
)

// guardrails are Cassandra's, in its words: what goes beyond one threshold is done, with a warning, and beyond another refused. There are no superusers, so they
// hold for everybody.
type guardrails struct {
	config.Guardrails
	// values says that some are about what is written, requests that some are about requests of any kind: then none is answered without a worker (Start).
	values, requests bool
}

// newGuardrails takes what is configured; nil: the defaults.
func newGuardrails(g *config.Guardrails) guardrails {
	if g == nil {
		g = &config.Default().Guardrails
	}
	out := guardrails{Guardrails: *g}
	out.values = max(g.ItemsWarn, g.ItemsFail) > 0 || max(g.CollectionSizeWarn, g.CollectionSizeFail, g.ValueSizeWarn, g.ValueSizeFail) > 0
	levels := slices.Concat(g.ReadLevelsWarned, g.ReadLevelsDisallowed, g.WriteLevelsWarned, g.WriteLevelsDisallowed)
	out.requests = out.values || len(levels) > 0 || max(g.PageSizeWarn, g.PageSizeFail) > 0 ||
		!g.AllowFiltering || !g.GroupBy || !g.UserTimestamps || !g.ListReads
	return out
}

// violated is the error of a request that a guardrail refuses.
func violated(name, format string, args ...any) error {
	return wire.Errorf(wire.CodeInvalid, "Guardrail %s violated: %s", name, fmt.Sprintf(format, args...))
}

// warn tells the client of a guardrail.
func (r *request) warn(name, format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf("Guardrail %s violated: %s", name, fmt.Sprintf(format, args...)))
}

// guard holds a number to two thresholds. The texts are given the threshold that was exceeded.
func (r *request) guard(name string, n, warn, fail int, warning, failure func(limit int) string) error {
	switch {
	case fail > 0 && n > fail:
		return violated(name, "%s", failure(fail))
	case warn > 0 && n > warn:
		r.warn(name, "%s", warning(warn))
	}
	return nil
}

// exceeds is the text of most guardrails: what there is, and the threshold.
func exceeds(format string, args ...any) (warning, failure func(limit int) string) {
	text := fmt.Sprintf(format, args...)
	say := func(threshold string) func(int) string {
		return func(limit int) string {
			return fmt.Sprintf("%s, this exceeds the %s threshold of %d.", text, threshold, limit)
		}
	}
	return say("warning"), say("failure")
}

// guardLevel holds a consistency level to lists of them. what is read or write.
func (r *request) guardLevel(what string, l consistency.Level, warned, disallowed []string) error {
	if len(warned)+len(disallowed) == 0 {
		return nil
	}
	name, noun, given := what+"_consistency_levels", what+" consistency levels", []string{l.String()}
	if err := refuseListed(name, noun, given, disallowed); err != nil {
		return err
	}
	r.warnListed(name, noun, given, warned)
	return nil
}

// listed are those of the given values that a guardrail lists.
func listed(given, list []string) []string {
	both := slices.DeleteFunc(slices.Clone(given), func(v string) bool { return !slices.Contains(list, v) })
	slices.Sort(both)
	return both
}

// words writes a list of values as Cassandra does.
func words(list []string) string {
	return "[" + strings.Join(slices.Sorted(slices.Values(list)), ", ") + "]"
}

func refuseListed(name, noun string, given, list []string) error {
	if bad := listed(given, list); len(bad) > 0 {
		return violated(name, "Provided values %s are not allowed for %s (disallowed values are: %s)", words(bad), noun, words(list))
	}
	return nil
}

func (r *request) warnListed(name, noun string, given, list []string) {
	if bad := listed(given, list); len(bad) > 0 {
		r.warn(name, "Provided values %s are not recommended for %s (warned values are: %s)", words(bad), noun, words(list))
	}
}

// guardSelect holds a SELECT to the guardrails, before it is run.
func (r *request) guardSelect(sel *plan.Select) error {
	g := &r.x.guards
	system := sel.Table.Virtual
	switch {
	case sel.Filtering && !g.AllowFiltering && !system:
		return violated("allow_filtering", "Querying with ALLOW FILTERING is not allowed. ALLOW FILTERING can potentially visit all the data in the table and "+
			"have unpredictable performance.")
	case sel.GroupBy > 0 && !g.GroupBy:
		return violated("group_by", "GROUP BY functionality is not allowed")
	}
	if err := r.guardLevel("read", r.params.Level, g.ReadLevelsWarned, g.ReadLevelsDisallowed); err != nil {
		return err
	}
	if err := r.guardProduct(sel.Where); err != nil {
		return err
	}
	if err := r.guardPartitions(sel); err != nil {
		return err
	}
	return r.guardPage(sel)
}

// guardPage holds the page size to its guardrail, where LIMIT doesn't hold it already.
func (r *request) guardPage(sel *plan.Select) error {
	g, size := &r.x.guards, r.params.PageSize
	if limit, err := r.limit(sel.Limit, "LIMIT", "limit"); err != nil || limit >= 0 && limit <= size {
		return err
	}
	return r.guard("page_size", size, g.PageSizeWarn, g.PageSizeFail,
		func(limit int) string {
			return fmt.Sprintf("Query for table %s with page size %d exceeds warning threshold of %d.", sel.Table.Name, size, limit)
		}, func(limit int) string {
			return fmt.Sprintf("Aborting query for table %s, page size %d exceeds fail threshold of %d.", sel.Table.Name, size, limit)
		})
}

// guardPartitions holds the partitions that a SELECT names to their guardrail.
func (r *request) guardPartitions(sel *plan.Select) error {
	g := &r.x.guards
	if max(g.PartitionsWarn, g.PartitionsFail) <= 0 || sel.Where.Keys == nil {
		return nil
	}
	partitions, err := sel.Where.Partitions(&r.env)
	if err != nil {
		return err
	}
	return r.guard("partition_keys_in_select", len(partitions), g.PartitionsWarn, g.PartitionsFail,
		func(limit int) string {
			return fmt.Sprintf("Query with partition keys in IN clause on table %s, with number of partition keys %d exceeds warning threshold of %d.",
				sel.Table.Name, len(partitions), limit)
		}, func(limit int) string {
			return fmt.Sprintf("Aborting query with partition keys in IN clause on table %s, number of partition keys %d exceeds fail threshold of %d.",
				sel.Table.Name, len(partitions), limit)
		})
}

// guardProduct holds what the INs of a statement multiply to to its guardrail.
func (r *request) guardProduct(w *plan.Where) error {
	g := &r.x.guards
	if max(g.ProductWarn, g.ProductFail) <= 0 {
		return nil
	}
	partitions, rows, err := w.Products(&r.env)
	if err != nil {
		return err
	}
	for _, of := range []struct {
		what string
		n    int
	}{{"partition", partitions}, {"clustering", rows}} {
		produces := fmt.Sprintf("cartesian product of the IN restrictions on %s key produces %d values, this exceeds", of.what, of.n)
		err := r.guard("in_select_cartesian_product", of.n, g.ProductWarn, g.ProductFail,
			func(limit int) string { return fmt.Sprintf("The %s warning threshold of %d.", produces, limit) },
			func(limit int) string {
				return fmt.Sprintf("Aborting query because the %s fail threshold of %d.", produces, limit)
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// guardWrite holds an INSERT, UPDATE or DELETE to the guardrails that need none of its values.
func (r *request) guardWrite(w *plan.Write) error {
	g := &r.x.guards
	if w.Timestamp != nil && !g.UserTimestamps {
		return violated("user_timestamps", "User provided timestamps (USING TIMESTAMP) is not allowed")
	}
	if w.ListReads > 0 && !g.ListReads {
		const name = "read_before_write_list_operations"
		for _, c := range slices.Concat(w.Cells, w.Statics) {
			switch c.Op {
			case plan.CellPutAt:
				return violated(name, "Setting of list items by index requiring read before write is not allowed")
			case plan.CellDeleteAt:
				return violated(name, "Removal of list items by index requiring read before write is not allowed")
			case plan.CellDiscard:
				return violated(name, "Removal of list items requiring read before write is not allowed")
			}
		}
	}
	return r.guardProduct(w.Where)
}

// guardWriteLevel holds a write's consistency level to the guardrails.
func (r *request) guardWriteLevel() error {
	return r.guardLevel("write", r.params.Level, r.x.guards.WriteLevelsWarned, r.x.guards.WriteLevelsDisallowed)
}

// guardBatch holds a batch's mutations, one a partition, to the thresholds of its size and, where it isn't logged, of its partitions.
func (r *request) guardBatch(kind cql.BatchKind, tables []string, partitions, size int) error {
	g := &r.x.guards
	if partitions < 2 {
		return nil
	}
	switch warn := int(g.BatchSizeWarn); {
	case size > int(g.BatchSizeFail):
		return wire.Errorf(wire.CodeInvalid, "Batch too large: it has %d bytes, the limit is %d (batch_size_fail_threshold)", size, g.BatchSizeFail)
	case warn > 0 && size > warn:
		r.warnings = append(r.warnings, fmt.Sprintf("Batch for %s is of size %d, exceeding specified threshold of %d by %d.", words(tables), size, warn, size-warn))
	}
	if g.UnloggedAcross > 0 && kind == cql.Unlogged && partitions > g.UnloggedAcross {
		plural := "s"
		if len(tables) == 1 {
			plural = ""
		}
		r.warnings = append(r.warnings, fmt.Sprintf("Unlogged batch covering %d partitions detected against table%s %s. You should use a logged batch for "+
			"atomicity, or asynchronous writes for performance.", partitions, plural, words(tables)))
	}
	return nil
}
