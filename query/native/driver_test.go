package native

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/apache/cassandra-gocql-driver/v2/lz4"
	"github.com/apache/cassandra-gocql-driver/v2/snappy"
)

// driverAddress is this test's own: drivers connect to what system.local says, so it must be one that nobody else uses.
const driverAddress = "127.3.9.1"

// TestGocql drives the server by Apache's Go driver, unmodified: version negotiation, discovery, prepared statements, many at once, errors, in both versions
// with and without compression.
func TestGocql(t *testing.T) {
	_, addr := startOn(t, Options{Engine: newSystemEngine(driverAddress)}, driverAddress+":0")
	_, port, _ := net.SplitHostPort(addr)
	for _, tc := range []struct {
		name       string
		version    int
		compressor gocql.Compressor
	}{
		{"negotiated", 0, nil}, {"v4", 4, nil}, {"v4 lz4", 4, lz4.LZ4Compressor{}}, {"v4 snappy", 4, snappy.SnappyCompressor{}},
		{"v5", 5, nil}, {"v5 lz4", 5, lz4.LZ4Compressor{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cluster := gocql.NewCluster(driverAddress)
			cluster.Port, _ = strconv.Atoi(port)
			cluster.ProtoVersion, cluster.Compressor = tc.version, tc.compressor
			cluster.Keyspace = "k"
			cluster.Timeout, cluster.ConnectTimeout = 10*time.Second, 10*time.Second
			cluster.Logger = quiet{}
			session, err := cluster.CreateSession()
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() { roundTrips(t, session, tc.name, g) })
			}
			wg.Wait()
			var request *gocql.RequestErrUnprepared
			err = session.Query("NONSENSE").Exec()
			if err == nil || errors.As(err, &request) {
				t.Errorf("a syntax error: %v", err)
			}
		})
	}
}

func roundTrips(t *testing.T, session *gocql.Session, name string, g int) {
	for i := range 100 {
		key, want := fmt.Sprint(name, g, i), fmt.Sprintf("%0*d", i*10, i)
		if err := session.Query("INSERT INTO k.t (k, v) VALUES (?, ?)", key, want).Exec(); err != nil {
			t.Error(err)
			return
		}
		var got string
		if err := session.Query("SELECT v FROM k.t WHERE k = ?", key).Scan(&got); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
			return
		}
	}
}

// quiet keeps the driver's log out of the test's.
type quiet struct{}

func (quiet) Error(string, ...gocql.LogField)   {}
func (quiet) Warning(string, ...gocql.LogField) {}
func (quiet) Info(string, ...gocql.LogField)    {}
func (quiet) Debug(string, ...gocql.LogField)   {}
