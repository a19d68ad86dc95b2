package flows

// Numbers of groups and meters. Those with our top octets are ours: no other group
// or meter is ever changed or deleted.
const (
	// GroupMark and MeterMark are what the numbers of ours are under NumberMask.
	GroupMark  uint32 = 0x4e000000
	MeterMark  uint32 = 0x4e000000
	NumberMask uint32 = 0xfe000000 // 2^25 numbers of each

	// groupFlowID selects a FlowID. The numbers from 0x4e001000 on are for VSIDs,
	// which begin at 4096 (RFC 7637 section 3.3), those from 0x4f000000 on for
	// customer routes.
	groupFlowID = GroupMark | 1
	groupRoutes = GroupMark | 1<<24
)

// OurGroup reports whether a group of that number is ours.
func OurGroup(id uint32) bool { return id&NumberMask == GroupMark }

// OurMeter reports whether a meter of that number is ours.
func OurMeter(id uint32) bool { return id&NumberMask == MeterMark }

// VMMeter returns the number of the meter of the VM at an OpenFlow port.
func VMMeter(port uint32) uint32 { return MeterMark | port }
