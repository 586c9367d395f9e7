package rpc

import "strconv"

var verbNames = [...]string{
	VerbPing: "ping", VerbHello: "hello", VerbFound: "found", VerbMetaPrepare: "meta-prepare", VerbMetaAccept: "meta-accept",
	VerbMetaLearn: "meta-learn", VerbMetaPull: "meta-pull", VerbMetaPropose: "meta-propose", VerbWrite: "write", VerbRead: "read",
	VerbStream: "stream", VerbStatus: "status", VerbApplied: "applied", VerbPaxosPrepare: "paxos-prepare", VerbPaxosAccept: "paxos-accept",
	VerbPaxosCommit: "paxos-commit", VerbTree: "tree", VerbRepair: "repair", VerbTrace: "trace",
	VerbRepairRun: "repair-run", VerbBatchLog: "batch-log", VerbBatchDone: "batch-done",
}

// String is the verb's name in logs and errors.
func (v Verb) String() string {
	if int(v) < len(verbNames) && verbNames[v] != "" {
		return verbNames[v]
	}
	return "verb " + strconv.Itoa(int(v))
}

// Unclustered reports whether a verb passes while sender or receiver belongs to no cluster yet.
func (v Verb) Unclustered() bool {
	switch v {
	case VerbPing, VerbHello, VerbFound, VerbMetaPropose, VerbMetaPull:
		return true
	}
	return false
}
