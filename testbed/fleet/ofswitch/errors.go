package ofswitch

import "fmt"

// Error is what a message is refused with (OpenFlow 1.3.5 section 7.4.4). An
// Experimenter makes it an experimenter's error whose number is Code.
type Error struct {
	Type         uint16
	Code         uint16
	Experimenter uint32
}

// Error gives the numbers, as `ovs-ofctl print-error` does not: names are for
// the other side.
func (e *Error) Error() string {
	if e.Experimenter != 0 {
		return fmt.Sprintf("OpenFlow error of experimenter %#x: %d", e.Experimenter, e.Code)
	}
	return fmt.Sprintf("OpenFlow error %d/%d", e.Type, e.Code)
}

func standard(kind, code uint16) *Error { return &Error{Type: kind, Code: code} }
func bundleError(code uint16) *Error {
	return &Error{Type: 0xffff, Code: 2300 + code, Experimenter: onf}
}

// The errors that a switch sends. Their names are those of OpenFlow.
var (
	errHelloIncompatible = standard(0, 0)

	errBadVersion      = standard(1, 0)
	errBadType         = standard(1, 1)
	errBadMultipart    = standard(1, 2)
	errBadExperimenter = standard(1, 3)
	errBadExpType      = standard(1, 4)
	errEPerm           = standard(1, 5)
	errBadLen          = standard(1, 6)
	errReqBadTable     = standard(1, 9)
	errIsSlave         = standard(1, 10)

	errActionType         = standard(2, 0)
	errActionLen          = standard(2, 1)
	errActionExperimenter = standard(2, 2)
	errActionOutPort      = standard(2, 4)
	errActionArgument     = standard(2, 5)
	errActionOutGroup     = standard(2, 9)
	errActionInconsistent = standard(2, 10)
	errActionSetLen       = standard(2, 14)
	errActionSetArgument  = standard(2, 15)
	errActionSetMask      = &Error{Type: 0xffff, Code: 4250, Experimenter: onf}

	errInstrUnknown = standard(3, 0)
	errInstrTable   = standard(3, 2)
	errInstrLen     = standard(3, 7)
	errInstrDup     = &Error{Type: 0xffff, Code: 2600, Experimenter: onf}

	errMatchType      = standard(4, 0)
	errMatchLen       = standard(4, 1)
	errMatchWildcards = standard(4, 5)
	errMatchField     = standard(4, 6)
	errMatchValue     = standard(4, 7)
	errMatchMask      = standard(4, 8)
	errMatchPrereq    = standard(4, 9)
	errMatchDup       = standard(4, 10)

	errFlowTableFull = standard(5, 1)
	errFlowTable     = standard(5, 2)
	errFlowOverlap   = standard(5, 3)
	errFlowCommand   = standard(5, 6)
	errFlowFlags     = standard(5, 7)

	errGroupExists  = standard(6, 0)
	errGroupInvalid = standard(6, 1)
	errGroupUnknown = standard(6, 8)
	errGroupType    = standard(6, 10)
	errGroupCommand = standard(6, 11)
	errGroupBucket  = standard(6, 13)
	errMeterCommand = standard(12, 4)
	errMeterExists  = standard(12, 1)
	errMeterInvalid = standard(12, 2)
	errMeterAbsent  = standard(12, 3)

	errMeterUnknown = standard(12, 2)

	errRoleStale = standard(11, 0)
	errRoleBad   = standard(11, 2)

	errBundleBadID    = bundleError(2)
	errBundleClosed   = bundleError(4)
	errBundleBadType  = bundleError(6)
	errBundleBadFlags = bundleError(7)
	errUnencodable    = &Error{Type: 0xffff, Code: 10, Experimenter: nicira}
	errBundleMsgLen   = bundleError(8)
	errBundleMsgXID   = bundleError(9)
	errBundleMsgUnsup = bundleError(10)
	errBundleFailed   = bundleError(13)
)

// appendError appends the error that answers msg, under its xid, with all of it
// that an error has room for.
func appendError(b []byte, e *Error, msg []byte) []byte {
	data := msg[:min(len(msg), maxLen-16)]
	n := headerLen + 4 + len(data)
	if e.Experimenter != 0 {
		n += 4
	}
	b = append(b, msg[0], typeError)
	b = be.AppendUint16(b, uint16(n))
	b = append(b, msg[4:8]...)
	b = be.AppendUint16(b, e.Type)
	b = be.AppendUint16(b, e.Code)
	if e.Experimenter != 0 {
		b = be.AppendUint32(b, e.Experimenter)
	}
	return append(b, data...)
}
