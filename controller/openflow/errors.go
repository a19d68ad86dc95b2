package openflow

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that a caller decides by, with errors.Is.
var (
	// ErrSlave: another controller has claimed the switch with a higher
	// generation; what this session wants to write is refused.
	ErrSlave = errors.New("another controller is the switch's master")
	// ErrStaleGeneration: the generation is older than one that the switch has
	// seen. Claim with a higher one, if this controller is to win.
	ErrStaleGeneration = errors.New("the generation is older than the master's")
	// ErrClosed: the session was closed on this side.
	ErrClosed = errors.New("session closed")
	// ErrPeerSilent: the switch has neither sent anything nor taken anything for
	// Options.EchoTimeout.
	ErrPeerSilent = errors.New("the switch does not answer")
	// ErrVersion: the switch does not speak OpenFlow 1.3 here.
	ErrVersion = errors.New("the switch offers no OpenFlow 1.3: add OpenFlow13 to the bridge's protocols")
	// ErrOutcomeUnknown: the session ended between a commit and its
	// confirmation. The bundle was applied as a whole or not at all; read the
	// flows back to learn which.
	ErrOutcomeUnknown = errors.New("whether the bundle was applied is unknown")
)

// Error is a switch's error message (OpenFlow 1.3.5 section 7.4.4).
type Error struct {
	Type uint16
	Code uint16 // of an experimenter's error: its exp_type
	// Experimenter is whose error this is, if Type is 0xffff.
	Experimenter uint32
	XID          uint32 // of the message that caused it
	Request      string // kind of that message
	Data         []byte // the first octets of that message, as the switch returned them
}

// Error names the error in the words of OpenFlow and says what they mean.
func (e *Error) Error() string {
	name, hint := e.text()
	s := "switch refused " + e.Request + ": " + name
	if hint != "" {
		s += ": " + hint
	}
	return s
}

// IsMeterPresence reports whether a change was refused because a meter to be added
// is there, or one to be modified is not.
func IsMeterPresence(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Type == errorMeterMod && (e.Code == 1 || e.Code == 3)
}

// Is reports whether e is what target names: [ErrSlave], [ErrStaleGeneration] or
// [ErrVersion].
func (e *Error) Is(target error) bool {
	switch target {
	case ErrSlave:
		return e.Type == errorBadRequest && e.Code == 10
	case ErrStaleGeneration:
		return e.Type == errorRole && e.Code == 0
	case ErrVersion:
		return e.Type == errorHello && e.Code == 0
	}
	return false
}

// ModError is a change that was refused, by the switch (Err is an [*Error]) or
// already by the encoder.
type ModError struct {
	Index int // of the change in what Apply was given, from 0
	Mod   Mod
	Err   error
}

// Error names the change, its flow and why it was refused.
func (e *ModError) Error() string {
	what := "no flow"
	if e.Mod.Flow != "" {
		what = e.Mod.Flow.Text()
	}
	if e.Mod.RawMatch != nil {
		what += fmt.Sprintf(" (raw match %x)", e.Mod.RawMatch)
	}
	return fmt.Sprintf("change %d, %s %s: %v", e.Index, e.Mod.Op, what, e.Err)
}

func (e *ModError) Unwrap() error { return e.Err }

// maxModErrors bounds how many refused changes are named.
const maxModErrors = 100

// ApplyError says which changes were refused.
type ApplyError struct {
	Mods    []*ModError // by index; at most 100
	Omitted int         // how many more
	Applied bool        // the other changes are in force: [Session.Load], not [Session.Apply]
}

// Error names every refused change, one a line.
func (e *ApplyError) Error() string {
	var b strings.Builder
	b.WriteString("openflow: ")
	n := len(e.Mods) + e.Omitted
	if e.Applied {
		fmt.Fprintf(&b, "%d changes refused, all others made", n)
	} else {
		fmt.Fprintf(&b, "%d changes refused, none made", n)
	}
	for _, m := range e.Mods {
		b.WriteString("\n" + m.Error())
	}
	if e.Omitted > 0 {
		fmt.Fprintf(&b, "\nand %d more", e.Omitted)
	}
	return b.String()
}

// Unwrap returns the refusals, for errors.As.
func (e *ApplyError) Unwrap() []error {
	errs := make([]error, len(e.Mods))
	for i, m := range e.Mods {
		errs[i] = m
	}
	return errs
}
