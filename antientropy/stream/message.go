package stream

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"nodedb/antientropy/merkle"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// messageVersion begins every envelope.
const messageVersion = 1

// Op says what a request asks for. Only append to this list: it is on the wire.
type Op uint8

const (
	// OpSums asks for the sums of the intervals' pieces (VerbTree).
	OpSums Op = iota + 1
	// OpLists asks for the hashes of the intervals' items (VerbTree).
	OpLists
	// OpFetch asks for the items with the hashes wanted, or all, as mutations (VerbRepair).
	OpFetch
	// OpPush has mutations applied (VerbRepair).
	OpPush
	// OpRecord tells an owner what became of a session, for its own records (VerbRepair).
	OpRecord
	// OpSuspect tells that a node lacks what hints were to bring: Record is its host id (VerbRepair).
	OpSuspect
	// OpHinted asks whether hints are being sent to the node: then it answers CodeNotReady (VerbRepair).
	OpHinted
)

// MaxMutations bounds the mutations of a message.
const MaxMutations = 1 << 16

// Request is the body of VerbTree and VerbRepair: a positional msgpack envelope. Intervals and Want are merkle's bytes.
type Request struct {
	_msgpack  struct{} `msgpack:",as_array"` //nolint:unused // how the package is told
	Version   uint8
	Op        Op
	Needs     uint64 // newest metadata entry that the request depends on
	Ring      uint64 // entry that last changed the ring it was sent under
	Storage   row.StorageID
	Now       int64 // unix seconds, agreed for the whole session
	Intervals []byte
	// Skip and After say where an earlier request stopped: pieces (of OpSums) or intervals before Skip are done, and so are items up to After.
	Skip  int
	After []byte // a bound; empty: Skip begins
	Heads bool   // only headers
	// Want has a list for each interval; an empty one is everything. Absent: everything of all.
	Want      []byte
	Mutations [][]byte
	Record    []byte
}

// Reply answers all of them. Where Skip is negative all is said; otherwise the request goes on with Skip and After.
type Reply struct {
	_msgpack  struct{} `msgpack:",as_array"` //nolint:unused // how the package is told
	Version   uint8
	Sums      []byte // from the request's Skip on; the last is in part where Skip isn't negative
	Lists     []byte // likewise
	Mutations [][]byte
	Skip      int
	After     []byte
}

// decodeRequest reads a request and checks every bound.
func decodeRequest(body []byte) (*Request, []merkle.Interval, error) {
	r := &Request{}
	if err := msgpack.Unmarshal(body, r); err != nil {
		return nil, nil, err
	}
	if r.Version != messageVersion {
		return nil, nil, fmt.Errorf("message version %d, want %d: mixed nodedb versions?", r.Version, messageVersion)
	}
	if r.Op == OpSuspect {
		if len(r.Record) != len(vnodes.HostID{}) {
			return nil, nil, fmt.Errorf("a host id of %d bytes", len(r.Record))
		}
		return r, nil, nil
	}
	if r.Op == OpHinted {
		return r, nil, nil
	}
	if len(r.Mutations) > MaxMutations || r.Storage == 0 {
		return nil, nil, fmt.Errorf("%d mutations for storage %d", len(r.Mutations), r.Storage)
	}
	if r.Op == OpPush || r.Op == OpRecord {
		return r, nil, nil
	}
	ivs, err := merkle.DecodeIntervals(r.Intervals)
	if err != nil {
		return nil, nil, err
	}
	things := len(ivs)
	if r.Op == OpSums {
		things = 0
		for i := range ivs {
			things += ivs[i].Pieces()
		}
	}
	if r.Skip < 0 || r.Skip > things {
		return nil, nil, fmt.Errorf("a request that goes on at %d of %d", r.Skip, things)
	}
	return r, ivs, nil
}

func decodeReply(body []byte) (*Reply, error) {
	r := &Reply{}
	if err := msgpack.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("malformed answer: %w", err)
	}
	if r.Version != messageVersion {
		return nil, fmt.Errorf("answer of version %d, want %d: mixed nodedb versions?", r.Version, messageVersion)
	}
	return r, nil
}

func encode(v any) ([]byte, error) { return msgpack.Marshal(v) }

func invalid(err error) error {
	return &rpc.RemoteError{Code: rpc.CodeInvalid, Message: "anti-entropy: " + err.Error()}
}

// EncodeRecord makes the body of VerbRepair that tells an owner what became of a session.
func EncodeRecord(needs, ring uint64, table row.StorageID, record []byte) ([]byte, error) {
	return encode(&Request{Version: messageVersion, Op: OpRecord, Needs: needs, Ring: ring, Storage: table, Record: record})
}

// EncodeSuspect makes the body of VerbRepair that tells of a node that lacks what hints were to bring.
func EncodeSuspect(id vnodes.HostID) ([]byte, error) {
	return encode(&Request{Version: messageVersion, Op: OpSuspect, Record: id[:]})
}

// EncodeHinted makes the body of VerbRepair that asks whether hints are being sent to a node.
func EncodeHinted() ([]byte, error) { return encode(&Request{Version: messageVersion, Op: OpHinted}) }
