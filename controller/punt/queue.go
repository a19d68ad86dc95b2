package punt

import "sync"

// queue holds packets until they are answered. Each port has a limited number of
// places, so has the whole; ports are served in turn.
type queue struct {
	perPort, whole int
	wake           chan struct{} // capacity 1: there is something

	mu    sync.Mutex
	ports map[uint32][]Packet
	turn  []uint32 // ports with packets, the next first
	n     int
}

func newQueue(perPort, whole int) *queue {
	return &queue{perPort: perPort, whole: whole, wake: make(chan struct{}, 1), ports: make(map[uint32][]Packet)}
}

// put adds a packet; false where it has no place.
func (q *queue) put(p Packet) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := q.ports[p.Port]
	if q.n >= q.whole || len(waiting) >= q.perPort {
		return false
	}
	if len(waiting) == 0 {
		q.turn = append(q.turn, p.Port)
	}
	q.ports[p.Port] = append(waiting, p)
	q.n++
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns the oldest packet of the port whose turn it is; false where there
// is none.
func (q *queue) take() (Packet, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return Packet{}, false
	}
	port := q.turn[0]
	q.turn = q.turn[1:]
	waiting := q.ports[port]
	p := waiting[0]
	if len(waiting) == 1 {
		delete(q.ports, port)
	} else {
		waiting[0] = Packet{} // its octets are no longer ours to keep
		q.ports[port] = waiting[1:]
		q.turn = append(q.turn, port)
	}
	q.n--
	return p, true
}
