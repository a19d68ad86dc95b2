package ofswitch

import "encoding/binary"

// Numbers of OpenFlow 1.3 (OpenFlow 1.3.5, sections in comments), of EXT-230 and
// of nicira-ext.h.
const (
	version13 = 4
	headerLen = 8
	maxLen    = 65535

	// 7.1.1: types of messages.
	typeHello            = 0
	typeError            = 1
	typeEchoRequest      = 2
	typeEchoReply        = 3
	typeExperimenter     = 4
	typeFeaturesRequest  = 5
	typeFeaturesReply    = 6
	typeGetConfigRequest = 7
	typeGetConfigReply   = 8
	typeSetConfig        = 9
	typePacketOut        = 13
	typeFlowMod          = 14
	typeGroupMod         = 15
	typeMultipartRequest = 18
	typeMultipartReply   = 19
	typeBarrierRequest   = 20
	typeBarrierReply     = 21
	typeRoleRequest      = 24
	typeRoleReply        = 25
	typeSetAsync         = 28
	typeMeterMod         = 29

	// 7.3.5: kinds of multipart messages.
	multipartDesc        = 0
	multipartFlow        = 1
	multipartAggregate   = 2
	multipartTable       = 3
	multipartPortDesc    = 13
	multipartGroupDesc   = 7
	multipartMeterConfig = 10
	multipartMore        = 1

	// 7.3.4.1: flow-mods.
	cmdAdd          = 0
	cmdModify       = 1
	cmdModifyStrict = 2
	cmdDelete       = 3
	cmdDeleteStrict = 4

	flagCheckOverlap = 1 << 1
	flagsKnown       = 0x1f

	anyPort   = 0xffffffff
	anyGroup  = 0xffffffff
	allTables = 0xff

	// Controllers have tables 0 to 253; 254 is Open vSwitch's own.
	numTables     = 254
	tableInternal = 254

	// 7.2.4: instructions.
	instrGoto          = 1
	instrWriteMetadata = 2
	instrWriteActions  = 3
	instrApplyActions  = 4
	instrClearActions  = 5
	instrMeter         = 6

	// 7.2.5: actions.
	actionOutput       = 0
	actionSetField     = 25
	actionExperimenter = 0xffff

	portMax        = 0xffffff00
	portInPort     = 0xfffffff8
	portAll        = 0xfffffffc
	portController = 0xfffffffd
	portLocal      = 0xfffffffe

	nicira = 0x00002320
	onf    = 0x4f4e4600

	nxRegMove   = 6
	nxRegLoad   = 7
	nxOutputReg = 15
	nxRegLoad2  = 33

	// EXT-230.
	onfRoleStatus    = 1911 // EXT-191
	onfBundleControl = 2300
	onfBundleAdd     = 2301

	nxtSetPacketInFormat = 16
	nxtSetControllerID   = 20
	bundleOpen           = 0
	bundleClose          = 2
	bundleCommit         = 4
	bundleDiscard        = 6
	bundleAtomic         = 1
	bundleOrdered        = 2

	// 7.3.9.
	roleNoChange = 0
	roleEqual    = 1
	roleMaster   = 2
	roleSlave    = 3
)

var be = binary.BigEndian

// roundUp returns n rounded up to a multiple of 8.
func roundUp(n int) int { return (n + 7) &^ 7 }
