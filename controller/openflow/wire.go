package openflow

// Lengths and numbers of OpenFlow 1.3 (OpenFlow 1.3.5, sections in comments),
// of the ONF's bundle extension for it (EXT-230) and of nicira-ext.h.
const (
	version13 = 4
	headerLen = 8
	maxLen    = 65535 // of a message: its length has 16 bits

	// A.1: types of messages.
	typeHello            = 0
	typeError            = 1
	typeEchoRequest      = 2
	typeEchoReply        = 3
	typeExperimenter     = 4
	typeFeaturesRequest  = 5
	typeFeaturesReply    = 6
	typeSetConfig        = 9
	typePacketIn         = 10
	typeFlowRemoved      = 11
	typePortStatus       = 12
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

	multipartFlow        = 1
	multipartGroupDesc   = 7
	multipartMeterConfig = 10
	multipartReplyMore   = 1

	// 7.3.4.1: flow-mod.
	commandAdd          = 0
	commandModifyStrict = 2
	commandDeleteStrict = 4
	flowModLen          = 48 // up to its match
	noBuffer            = 0xffffffff
	anyPort             = 0xffffffff
	anyGroup            = 0xffffffff
	anyTable            = 0xff

	// 7.3.4.2: group-mod. Open vSwitch offers the last command, which OpenFlow
	// lacks, to all versions.
	groupDelete      = 2
	groupAddOrModify = 0x8000
	groupModLen      = 16
	bucketLen        = 16

	// 7.3.4.5: meter-mod.
	meterAdd    = 0
	meterModify = 1
	meterDelete = 2
	meterModLen = 16
	meterPktps  = 2
	meterBurst  = 4
	meterStats  = 8
	meterDrop   = 1

	matchOXM = 1

	// 7.2.4: instructions.
	instructionGoto  = 1
	instructionApply = 4

	// 7.2.5: actions.
	actionOutput       = 0
	actionPopVLAN      = 18
	actionGroup        = 22
	actionDecTTL       = 24
	actionSetField     = 25
	actionExperimenter = 0xffff

	portController = 0xfffffffd
	maxLenWhole    = 0xffff // OFPCML_NO_BUFFER: the whole packet

	experimenterNicira = 0x00002320
	experimenterONF    = 0x4f4e4600

	nxRegMove        = 6
	nxRegLoad        = 7
	nxResubmitTable  = 14
	nxOutputReg      = 15
	nxController     = 20
	nxRegLoad2       = 33
	nxController2    = 37
	nxCheckPktLarger = 49

	// Properties of NXAST_CONTROLLER2.
	nxc2MaxLen     = 0
	nxc2Controller = 1
	nxc2UserData   = 3
	nxc2Meter      = 5

	reasonAction = 1      // OFPR_ACTION
	portInPort16 = 0xfff8 // OFPP_IN_PORT in 16 bits

	// Open vSwitch reports a move that it was given as OpenFlow 1.5's
	// copy_field in OpenFlow 1.3 in this form of the ONF's (EXT-320).
	onfCopyField = 3200

	nxtSetPacketInFormat = 16
	nxtSetControllerID   = 20
	nxtPacketIn2         = 30
	packetInFormat2      = 2 // NXPIF_NXT_PACKET_IN2

	// EXT-230: bundles.
	onfBundleControl = 2300
	onfBundleAdd     = 2301
	bundleOpen       = 0
	bundleOpened     = 1
	bundleClose      = 2
	bundleClosed     = 3
	bundleCommit     = 4
	bundleCommitted  = 5
	bundleDiscard    = 6
	bundleDiscarded  = 7
	bundleAtomic     = 1
	bundleOrdered    = 2
	bundleAddLen     = 24 // up to the message inside

	// 7.3.9: roles.
	roleNoChange = 0
	roleEqual    = 1
	roleMaster   = 2
	roleSlave    = 3
)
