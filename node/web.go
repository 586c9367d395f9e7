package node

import (
	"encoding/json"
	"errors"
	"net/http"

	"nodedb/query"
)

// handler is the HTTP door.
func (n *Node) handler(*query.Engine) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ring", func(w http.ResponseWriter, _ *http.Request) { answer(w, n.Status(), nil) })
	mux.HandleFunc("GET /v1/replica/{keyspace}/{table}", func(w http.ResponseWriter, r *http.Request) {
		sum, err := n.Checksum(r.Context(), r.PathValue("keyspace"), r.PathValue("table"))
		answer(w, sum, err)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "ready", nil) })
	mux.Handle("GET /metrics", n.metrics.Handler())
	return mux
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		status := http.StatusInternalServerError
		if errors.Is(err, ErrNoTable) {
			status = http.StatusNotFound
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
