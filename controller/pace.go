package controller

import "time"

// pace has changes gather while more of them come than hosts can be told of one
// by one: a host then gets several in one bundle, which costs little more than
// one. It is an account that fills with time; as long as there is something in
// it, nothing waits, so that changes that come one by one are passed on at once.
type pace struct {
	owed float64 // hosts told, less what time has paid
	at   time.Time
	told time.Time // when hosts were last told
}

const (
	// paceRate is how many hosts may be told of changes in a second, for long.
	paceRate = 5000
	// paceBurst is how many may be at once before anything waits.
	paceBurst = 1500
	// paceLimit bounds how long changes gather, from the beginning of one turn to
	// that of the next.
	paceLimit = 100 * time.Millisecond
)

// spend notes that so many hosts are told of changes.
func (p *pace) spend(hosts int, now time.Time) {
	p.pay(now)
	p.owed += float64(hosts)
	if hosts > 0 {
		p.told = now
	}
}

// pause returns how long what comes next shall gather.
func (p *pace) pause(now time.Time) time.Duration {
	p.pay(now)
	over := p.owed - paceBurst
	if over <= 0 {
		return 0
	}
	d := min(paceLimit, time.Duration(over/paceRate*float64(time.Second)))
	// The turn itself has taken part of it.
	return max(d/4, d-now.Sub(p.told))
}

func (p *pace) pay(now time.Time) {
	if d := now.Sub(p.at); d > 0 {
		// A first start owes a whole fleet, which is no reason to wait for long.
		p.owed = min(max(0, p.owed-d.Seconds()*paceRate), 2*paceBurst)
		p.at = now
	}
}
