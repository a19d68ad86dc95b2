//go:build linux

package testbed_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

func sendFrames(t *testing.T, ns, device string, frames ...[]byte) {
	t.Helper()
	if err := netspace.SendFrames(ns, device, frames...); err != nil {
		t.Fatal(err)
	}
}

// watch runs do and returns the frames that pass a point until enough says so,
// or for a while after do if it never does.
func watch(t *testing.T, p capture.Point, linger time.Duration, do func(), enough func(*capture.Packet) bool) []*capture.Packet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var mu sync.Mutex
	var seen []*capture.Packet
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := capture.Run(ctx, []capture.Point{p}, func() { close(ready) }, func(pk *capture.Packet) bool {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, pk)
			return enough == nil || !enough(pk)
		})
		done <- err
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	do()
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-timer.C:
		cancel()
		<-done
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return seen
}

func mac(s string) []byte {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func ethernet(dst, src string, etherType uint16, payload []byte) []byte {
	b := append(append([]byte(nil), mac(dst)...), mac(src)...)
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

func arpFrame(op uint16, ethDst, senderMAC, senderIP, targetIP string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, byte(op)}
	b = append(append(b, mac(senderMAC)...), netip.MustParseAddr(senderIP).AsSlice()...)
	b = append(append(b, 0, 0, 0, 0, 0, 0), netip.MustParseAddr(targetIP).AsSlice()...)
	return ethernet(ethDst, senderMAC, capture.EtherTypeARP, b)
}

func ipv4(src, dst string, proto byte, payload []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	b = append(append(b, netip.MustParseAddr(src).AsSlice()...), netip.MustParseAddr(dst).AsSlice()...)
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, payload...)
}

func nvgre(key uint32, inner []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0x20, 0, 0x65, 0x58}, key), inner...)
}
