package ofswitch

import (
	"io"
	"net"
	"sync"
	"testing"
)

// FuzzSwitch: whatever a controller sends, the switch neither crashes nor hangs,
// and its table stays sound.
func FuzzSwitch(f *testing.F) {
	for _, steps := range scenarios {
		var b []byte
		for _, s := range steps {
			b = append(b, s.send...)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(Config{})
		ours, theirs := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { s.Serve(theirs) })
		wg.Go(func() { io.Copy(io.Discard, ours) })
		if _, err := ours.Write(message(typeHello, 1)); err == nil {
			ours.Write(b)
		}
		ours.Close()
		wg.Wait()
		n := 0
		s.Flows(func(f Flow) bool { n++; return true })
		if got := s.Snapshot().Flows; got != n {
			t.Fatalf("counts %d flows, has %d", got, n)
		}
		s.Close()
		if n := s.pool.Len(); n != 0 {
			t.Fatalf("%d flows left in the pool", n)
		}
	})
}
