// Package house holds the tests of the house rules (layout, import graph, package docs, sizes, formatting); it has no code of its own. It imports
// nothing of nodedb. Start reading at TestImportGraph.
package house
