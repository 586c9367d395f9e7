package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"nodedb/coordinator"
	"nodedb/gossip/metalog"
	"nodedb/query"
	"nodedb/query/exec"
	"nodedb/query/httpapi"
	"nodedb/query/native"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// doors are what clients come in by.
type doors struct {
	engine     *query.Engine
	native     *native.Server
	http       *httpapi.Server
	nativePort int
}

// openDoors makes sure, before anything is started, that the clients' ports can be had.
func (n *Node) openDoors() error {
	for setting, port := range map[string]int{
		"native_transport_port": n.Config.NativeTransportPort, "http_port": n.Config.HTTPPort, "gossip_port": n.Config.GossipPort,
	} {
		l, err := n.listen(port)
		if err != nil {
			return busy(setting, err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) listen(port int) (net.Listener, error) {
	return n.Host.Listen(net.JoinHostPort(n.Config.Listen, strconv.Itoa(port)))
}

// serveDoors opens them.
func (n *Node) serveDoors() error {
	n.measure()
	engine := query.NewEngine(n.cluster, query.Options{
		ReleaseVersion: cassandraRelease, MaxPreparedCost: int64(n.Config.PreparedCacheSize), Exec: exec.Options{Now: n.Host.Wall, UUID: n.Host.NewID, Guardrails: &n.Config.Guardrails},
	})
	n.doors.engine = engine
	cql, err := n.listen(n.Config.NativeTransportPort)
	if err != nil {
		return busy("native_transport_port", err)
	}
	web, err := n.listen(n.Config.HTTPPort)
	if err != nil {
		return errors.Join(busy("http_port", err), cql.Close())
	}
	n.doors.nativePort = n.Config.NativeTransportPort
	n.doors.native = native.New(native.Options{Engine: engine, Log: n.logger, Stats: n.metrics, MaxConnections: n.Config.MaxConnections,
		MaxRequestBytes: int(n.Config.MaxFrameSize), Traces: n.cluster.traces, Cork: &n.cork})
	n.cluster.door.Store(n.doors.native)
	n.doors.http = n.newWeb(engine)
	n.goBackground(func() { n.ended("CQL", native.ErrServerClosed, n.doors.native.Serve(cql)) })
	n.goBackground(func() { n.ended("HTTP", http.ErrServerClosed, n.doors.http.Serve(web)) })
	return nil
}

// ended takes note of a door that closed by itself.
func (n *Node) ended(door string, expected, err error) {
	if err != nil && !errors.Is(err, expected) {
		n.fatal(fmt.Errorf("the %s door closed: %w", door, err))
	}
}

// shutdown stops taking requests and finishes those in flight.
func (d *doors) shutdown(ctx context.Context) error {
	var errs []error
	if d.native != nil {
		errs = append(errs, d.native.Shutdown(ctx))
	}
	if d.http != nil {
		errs = append(errs, d.http.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

// notify tells drivers what changed between two views.
func (n *Node) notify(before *coordinator.View, st *metalog.State, target schema.Target) {
	if !n.ready.Load() {
		return
	}
	for _, t := range schemaNews(before.Catalog, st.Catalog, target) {
		n.doors.native.NotifySchema(query.Change(t))
	}
	for i := range st.Members {
		m := &st.Members[i]
		old, known := before.Ring.Node(m.ID)
		if m.State == vnodes.StateNormal && (!known || old.State != vnodes.StateNormal) {
			n.topology(m.Address, native.NewNode)
		}
	}
	for _, old := range before.Ring.Nodes() {
		if _, still := st.Ring.Node(old.ID); !still {
			n.topology(old.Address, native.RemovedNode)
		}
	}
}

// schemaNews are the targets to tell drivers of. A snapshot of the metadata log, which a node that is far behind gets, names none: there each keyspace
// that differs is one.
func schemaNews(before, now *schema.Catalog, target schema.Target) (news []schema.Target) {
	if target.Kind != "" {
		return []schema.Target{target}
	}
	if before.Version == now.Version {
		return nil
	}
	for name, ks := range now.Keyspaces {
		old, known := before.Keyspaces[name]
		switch {
		case !known:
			news = append(news, schema.Target{Kind: "CREATED", Object: "KEYSPACE", Keyspace: name})
		case old.Epoch != ks.Epoch:
			news = append(news, schema.Target{Kind: "UPDATED", Object: "KEYSPACE", Keyspace: name})
		}
	}
	for name := range before.Keyspaces {
		if _, still := now.Keyspaces[name]; !still {
			news = append(news, schema.Target{Kind: "DROPPED", Object: "KEYSPACE", Keyspace: name})
		}
	}
	return news
}

func (n *Node) topology(address string, change native.TopologyChange) {
	if at, ok := n.doors.at(address); ok {
		n.doors.native.NotifyTopology(at, change)
	}
}

// at is the address that clients use for a node.
func (d *doors) at(address string) (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(address)
	return netip.AddrPortFrom(ip, uint16(d.nativePort)), err == nil
}

// announce tells drivers that a node came up or went down.
func (n *Node) announce(address string, up bool) {
	if !n.ready.Load() {
		return
	}
	if at, ok := n.doors.at(address); ok {
		n.doors.native.NotifyStatus(at, up)
	}
}

// Engine answers CQL in process, as the doors have it; nil before they are open.
func (n *Node) Engine() *query.Engine { return n.doors.engine }
