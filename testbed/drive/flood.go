package drive

import (
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

// Flood has a VM send frames in turn, perSecond (at least 100) of them a second,
// until stop is called, which returns how many were sent.
func (b *Bed) Flood(vm string, perSecond int, frames ...[]byte) (stop func() (sent int)) {
	const tick = 10 * time.Millisecond
	namespace := b.VM(vm).Namespace
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var sent int
	var failed error
	wg.Go(func() {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		start := time.Now()
		for {
			var some [][]byte
			for due := int(time.Since(start).Seconds() * float64(perSecond)); sent < due; sent++ {
				some = append(some, frames[sent%len(frames)])
			}
			if failed = netspace.SendFrames(namespace, testbed.VMDevice, some...); failed != nil {
				return
			}
			select {
			case <-quit:
				return
			case <-ticker.C:
			}
		}
	})
	end := sync.OnceFunc(func() {
		close(quit)
		wg.Wait()
	})
	b.t.Cleanup(end)
	return func() int {
		b.t.Helper()
		end()
		if failed != nil {
			b.t.Fatal(failed)
		}
		return sent
	}
}
