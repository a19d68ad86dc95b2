package ofswitch

import "time"

// Faults is how a switch misbehaves. The zero Faults is a good switch.
type Faults struct {
	// MessageDelay passes before each message is handled.
	MessageDelay time.Duration
	// BundleDelay passes before each bundle's commit.
	BundleDelay time.Duration
	// Stalled makes the switch read and answer nothing, and keep its
	// connections, until it no longer is: as a process that is stopped.
	Stalled bool
	// RefuseFlow chooses the flow-mods that are refused, each with the error
	// that it returns; nil takes one. It is called for every flow-mod, with the
	// switch locked, and must not call it. Errors of the type FLOW_MOD_FAILED
	// (5) come from a bundle's commit, others when the message comes: as from a
	// table that is full, and as from a match that is not understood.
	RefuseFlow func(Mod) *Error
}

// Mod is a flow-mod as [Faults.RefuseFlow] and [Config.Observe] see it.
type Mod struct {
	Command  uint8 // OFPFC_: add 0, modify 1, modify-strict 2, delete 3, delete-strict 4
	Table    uint8
	Priority uint16
	Cookie   uint64
	InBundle bool
}

func (f *flowMod) mod(bundled bool) Mod {
	return Mod{f.command, f.table, f.priority, f.cookie, bundled}
}

const errorTypeFlowMod = 5

func (f *Faults) refuse(m *flowMod, bundled, committing bool) *Error {
	if f.RefuseFlow == nil {
		return nil
	}
	e := f.RefuseFlow(m.mod(bundled))
	if e == nil || bundled && committing != (e.Type == errorTypeFlowMod) {
		return nil
	}
	return e
}

// SetFaults makes the switch misbehave so from the next message on; the zero
// Faults ends it.
func (s *Switch) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
	close(s.faultsChanged)
	s.faultsChanged = make(chan struct{})
	s.notify()
}

// Faults returns how the switch misbehaves.
func (s *Switch) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// gate waits while the switch is stalled, and then for d.
func (c *conn) gate(delay func(*Faults) time.Duration) bool {
	for {
		c.sw.mu.Lock()
		f, changed := c.sw.faults, c.sw.faultsChanged
		c.sw.mu.Unlock()
		if f.Stalled {
			select {
			case <-changed:
				continue
			case <-c.done:
				return false
			}
		}
		d := delay(&f)
		if d <= 0 {
			return true
		}
		if c.flush() != nil {
			return false
		}
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return true
		case <-c.done:
			return false
		}
	}
}
