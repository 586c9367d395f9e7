package gossip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"nodedb/vnodes"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens anew")

func sampleNews() []byte {
	b := appendEntry([]byte{newsVersion}, &news{id: hostID(1), seq: 2, epoch: 3, load: 4})
	return appendEntry(b, &news{id: hostID(5), seq: 1 << 40, epoch: 6, load: 7, extra: []byte("more")})
}

func samplePeers() []byte {
	return encodePeers(map[vnodes.HostID]string{hostID(2): "10.1.0.2", hostID(1): "10.1.0.1"})
}

func TestGoldens(t *testing.T) {
	got := "news " + hex.EncodeToString(sampleNews()) + "\npeers " + hex.EncodeToString(samplePeers()) + "\n"
	path := filepath.Join("..", "testdata", "gossip", "formats.golden")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the bytes of a format changed. Got:\n%s", got)
	}
}

func TestNewsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []news
		b := []byte{newsVersion}
		for range rapid.IntRange(0, 5).Draw(t, "entries") {
			n := news{id: vnodes.HostID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), seq: rapid.Uint64().Draw(t, "seq"),
				epoch: rapid.Uint64().Draw(t, "epoch"), load: rapid.Uint64().Draw(t, "load"), extra: rapid.SliceOfN(rapid.Byte(), 0, maxExtra).Draw(t, "extra")}
			in = append(in, n)
			b = appendEntry(b, &n)
		}
		i := 0
		err := decodeNews(b, func(n news) {
			w := in[i]
			if n.id != w.id || n.seq != w.seq || n.epoch != w.epoch || n.load != w.load || !bytes.Equal(n.extra, w.extra) {
				t.Fatalf("entry %d: %+v, want %+v", i, n, w)
			}
			i++
		})
		if err != nil || i != len(in) {
			t.Fatalf("%d of %d entries, %v", i, len(in), err)
		}
	})
}

func TestMalformedIsRefused(t *testing.T) {
	good := sampleNews()
	long := appendEntry([]byte{newsVersion}, &news{extra: make([]byte, maxExtra+1)})
	for name, b := range map[string][]byte{"empty": nil, "version": append([]byte{9}, good[1:]...), "short": good[:20], "cut": good[:len(good)-1], "long": long} {
		if err := decodeNews(b, func(news) {}); !errors.Is(err, errNews) {
			t.Errorf("news, %s: %v", name, err)
		}
	}
	peers := samplePeers()
	for name, b := range map[string][]byte{"version": append([]byte{9}, peers[1:]...), "short": peers[:10], "cut": peers[:len(peers)-1]} {
		if _, err := decodePeers(b); !errors.Is(err, errPeers) {
			t.Errorf("peers, %s: %v", name, err)
		}
	}
}

func FuzzNews(f *testing.F) {
	f.Add(sampleNews())
	f.Add([]byte{newsVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		again := []byte{newsVersion}
		if decodeNews(b, func(n news) { again = appendEntry(again, &n) }) == nil && !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

func FuzzPeers(f *testing.F) {
	f.Add(samplePeers())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		peers, err := decodePeers(b)
		if err != nil {
			return
		}
		if again, err := decodePeers(encodePeers(peers)); err != nil || !maps.Equal(again, peers) {
			t.Fatalf("%v became %v, %v", peers, again, err)
		}
	})
}
