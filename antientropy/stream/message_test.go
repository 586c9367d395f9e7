package stream

import (
	"errors"
	"testing"

	"nodedb/antientropy/merkle"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

func intervals(ivs ...merkle.Interval) []byte { return merkle.AppendIntervals(nil, ivs) }

func FuzzRequest(f *testing.F) {
	for _, r := range []Request{
		{Version: messageVersion, Op: OpSums, Storage: 1, Intervals: intervals(merkle.OfRange(everything, 16))},
		{Version: messageVersion, Op: OpFetch, Storage: 1, Intervals: intervals(merkle.OfRange(everything, 1)), Want: merkle.AppendLists(nil, [][]uint64{{1}})},
		{Version: messageVersion, Op: OpPush, Storage: 1, Mutations: [][]byte{{1}}},
	} {
		b, err := encode(&r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = decodeRequest(b)
		_, _ = decodeReply(b)
	})
}

// Requests that break a bound are refused as invalid, by a server that goes on.
func TestHostileRequests(t *testing.T) {
	bubble(t, 2, func(t *testing.T, k *kit) {
		whole := merkle.OfRange(everything, 1)
		inside := merkle.EncodeBound(&merkle.Bound{Kind: merkle.BehindRow, Token: 5, Key: []byte("k"), Clustering: []byte("c")})
		narrow := merkle.OfRange(vnodes.Range{Start: 10, End: 20}, 1)
		for name, r := range map[string]struct {
			verb rpc.Verb
			q    Request
		}{
			"no intervals":           {rpc.VerbTree, Request{Op: OpSums}},
			"an operation of none":   {rpc.VerbTree, Request{Op: 99, Intervals: intervals(whole)}},
			"a push as a tree":       {rpc.VerbTree, Request{Op: OpPush}},
			"sums as a repair":       {rpc.VerbRepair, Request{Op: OpSums, Intervals: intervals(whole)}},
			"suspects nobody":        {rpc.VerbRepair, Request{Op: OpSuspect, Record: []byte{1}}},
			"skips too much":         {rpc.VerbTree, Request{Op: OpSums, Intervals: intervals(whole), Skip: 2}},
			"skips backwards":        {rpc.VerbTree, Request{Op: OpLists, Intervals: intervals(whole), Skip: -1}},
			"goes on outside":        {rpc.VerbTree, Request{Op: OpSums, Intervals: intervals(narrow), After: inside}},
			"a bound that is none":   {rpc.VerbTree, Request{Op: OpSums, Intervals: intervals(whole), After: []byte{77}}},
			"too few wishes":         {rpc.VerbRepair, Request{Op: OpFetch, Intervals: intervals(whole), Want: merkle.AppendLists(nil, [][]uint64{{1}, {2}})}},
			"malformed wishes":       {rpc.VerbRepair, Request{Op: OpFetch, Intervals: intervals(whole), Want: []byte{200}}},
			"malformed intervals":    {rpc.VerbTree, Request{Op: OpSums, Intervals: []byte{1, 9, 9}}},
			"a wrapping interval":    {rpc.VerbTree, Request{Op: OpSums, Intervals: intervals(merkle.Interval{Lower: merkle.AtToken(9), Upper: merkle.AtToken(3)})}},
			"too many even parts":    {rpc.VerbTree, Request{Op: OpSums, Intervals: intervals(merkle.OfRange(everything, 1<<20))}},
			"the system's key space": {rpc.VerbTree, Request{Op: OpSums, Intervals: intervals(whole)}},
		} {
			s, peers := k.session()
			if name == "the system's key space" {
				s.Table = 0
			}
			remote := remote{s: s, peer: peers[0].Addr}
			_, err := remote.call(t.Context(), r.verb, &r.q)
			var re *rpc.RemoteError
			if !errors.As(err, &re) || re.Code != rpc.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		if out := k.repair(); out.Rows != 0 {
			t.Error(out)
		}
	})
}
