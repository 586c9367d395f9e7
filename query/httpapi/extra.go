package httpapi

import "net/http"

// Refuse answers an error of one of Options.Extra's routes as a Problem.
func Refuse(w http.ResponseWriter, err error) { refuse(w, problemOf(err)) }

// Reply answers one of Options.Extra's routes in JSON.
func Reply(w http.ResponseWriter, v any) { answerJSON(w, v) }
