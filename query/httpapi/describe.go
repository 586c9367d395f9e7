package httpapi

import (
	"maps"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"nodedb/query/schema"
)

// Ring is the cluster as one node sees it.
type Ring struct {
	Cluster string     `json:"cluster" doc:"the cluster's name"`
	Epoch   uint64     `json:"epoch" doc:"number of the newest metadata entry that this node has applied"`
	Nodes   []RingNode `json:"nodes" nullable:"false"`
}

// RingNode is one member.
type RingNode struct {
	HostID       string `json:"host_id"`
	Address      string `json:"address"`
	DC           string `json:"dc"`
	Rack         string `json:"rack"`
	State        string `json:"state" enum:"up,down,joining,leaving"`
	Tokens       int    `json:"tokens" doc:"how many"`
	LoadBytes    uint64 `json:"load_bytes"`
	PendingHints int64  `json:"pending_hints" doc:"that wait, on all nodes that answered, to be delivered to it"`
	LostHints    int64  `json:"lost_hints" doc:"that overflowed, expired, were damaged or refused since those nodes started: left to anti-entropy"`
	OpenBatches  int64  `json:"open_batches" doc:"logged batches that it keeps until they are written"`
}

func (s *Server) ring(w http.ResponseWriter, r *http.Request) {
	ring, err := s.opts.Ring(r.Context())
	if err != nil {
		refuse(w, problemOf(err))
		return
	}
	if ring.Nodes == nil {
		ring.Nodes = []RingNode{}
	}
	answerJSON(w, ring)
}

// Schema is what GET /v1/schema answers.
type Schema struct {
	Epoch     uint64     `json:"epoch" doc:"number of the metadata entry that last changed the schema"`
	Version   string     `json:"version" doc:"equal on all nodes that have this schema"`
	Keyspaces []Keyspace `json:"keyspaces" nullable:"false" doc:"by name"`
}

// Keyspace of a Schema.
type Keyspace struct {
	Name          string            `json:"name"`
	Replication   map[string]string `json:"replication" doc:"class, and replication_factor or a factor for each datacenter"`
	DurableWrites bool              `json:"durable_writes"`
	Tables        []Table           `json:"tables" nullable:"false" doc:"by name"`
	Types         []UserType        `json:"types" nullable:"false" doc:"user types, by name"`
}

// Table of a Keyspace.
type Table struct {
	Name           string        `json:"name"`
	ID             string        `json:"id"`
	Columns        []TableColumn `json:"columns" nullable:"false" doc:"in the order of SELECT *"`
	PartitionKey   []string      `json:"partition_key" nullable:"false"`
	ClusteringKey  []string      `json:"clustering_key" nullable:"false"`
	Comment        string        `json:"comment"`
	DefaultTTL     int32         `json:"default_time_to_live" doc:"seconds; 0: none"`
	GCGraceSeconds int32         `json:"gc_grace_seconds"`
	Memory         bool          `json:"memory" doc:"kept in memory only"`
}

// TableColumn of a Table.
type TableColumn struct {
	Name  string `json:"name"`
	Type  string `json:"type" doc:"CQL type"`
	Kind  string `json:"kind" enum:"partition_key,clustering,static,regular"`
	Order string `json:"clustering_order" enum:"asc,desc,none"`
}

// UserType of a Keyspace.
type UserType struct {
	Name   string  `json:"name"`
	Fields []Field `json:"fields" nullable:"false"`
}

// Field of a UserType.
type Field struct {
	Name string `json:"name"`
	Type string `json:"type" doc:"CQL type"`
}

func (s *Server) schema(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, describe(s.opts.Catalog()))
}

func describe(c *schema.Catalog) Schema {
	out := Schema{Epoch: c.Epoch, Version: uuid.UUID(c.Version).String(), Keyspaces: []Keyspace{}}
	for _, name := range slices.Sorted(maps.Keys(c.Keyspaces)) {
		out.Keyspaces = append(out.Keyspaces, describeKeyspace(c.Keyspaces[name]))
	}
	return out
}

func describeKeyspace(ks *schema.Keyspace) Keyspace {
	out := Keyspace{Name: ks.Name, Replication: map[string]string{"class": ks.Class}, DurableWrites: ks.DurableWrites, Tables: []Table{}, Types: []UserType{}}
	maps.Copy(out.Replication, ks.Options)
	out.Replication["class"] = ks.Class
	for _, name := range slices.Sorted(maps.Keys(ks.Tables)) {
		out.Tables = append(out.Tables, describeTable(ks.Tables[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(ks.Types)) {
		t := UserType{Name: name, Fields: []Field{}}
		for i, field := range ks.Types[name].Fields {
			t.Fields = append(t.Fields, Field{field, ks.Types[name].Elems[i].String()})
		}
		out.Types = append(out.Types, t)
	}
	return out
}

func describeTable(t *schema.Table) Table {
	out := Table{Name: t.Name, ID: uuid.UUID(t.ID).String(), Columns: []TableColumn{}, PartitionKey: names(t.PartitionKey), ClusteringKey: names(t.Clustering),
		Comment: t.Options.Comment, DefaultTTL: t.Options.DefaultTTL, GCGraceSeconds: t.Options.GCGraceSeconds, Memory: t.Options.Memory}
	for _, c := range t.Columns {
		order := "none"
		switch {
		case c.Kind == schema.Clustering && c.Desc:
			order = "desc"
		case c.Kind == schema.Clustering:
			order = "asc"
		}
		out.Columns = append(out.Columns, TableColumn{c.Name, c.Type.String(), c.Kind.String(), order})
	}
	return out
}

func names(columns []*schema.Column) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.Name
	}
	return out
}
