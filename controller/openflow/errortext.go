package openflow

import "fmt"

// Types of errors (OpenFlow 1.3.5 section 7.4.4).
const (
	errorHello        = 0
	errorBadRequest   = 1
	errorRole         = 11
	errorMeterMod     = 12
	errorExperimenter = 0xffff
)

// errorNames has the names of a type's codes, in order (OpenFlow 1.3.5 section
// 7.4.4).
var errorNames = [...]struct {
	name  string
	codes []string
}{
	{"HELLO_FAILED", []string{"INCOMPATIBLE", "EPERM"}},
	{"BAD_REQUEST", []string{"BAD_VERSION", "BAD_TYPE", "BAD_MULTIPART", "BAD_EXPERIMENTER", "BAD_EXP_TYPE", "EPERM", "BAD_LEN",
		"BUFFER_EMPTY", "BUFFER_UNKNOWN", "BAD_TABLE_ID", "IS_SLAVE", "BAD_PORT", "BAD_PACKET", "MULTIPART_BUFFER_OVERFLOW"}},
	{"BAD_ACTION", []string{"BAD_TYPE", "BAD_LEN", "BAD_EXPERIMENTER", "BAD_EXP_TYPE", "BAD_OUT_PORT", "BAD_ARGUMENT", "EPERM",
		"TOO_MANY", "BAD_QUEUE", "BAD_OUT_GROUP", "MATCH_INCONSISTENT", "UNSUPPORTED_ORDER", "BAD_TAG", "BAD_SET_TYPE", "BAD_SET_LEN", "BAD_SET_ARGUMENT"}},
	{"BAD_INSTRUCTION", []string{"UNKNOWN_INST", "UNSUP_INST", "BAD_TABLE_ID", "UNSUP_METADATA", "UNSUP_METADATA_MASK",
		"BAD_EXPERIMENTER", "BAD_EXP_TYPE", "BAD_LEN", "EPERM"}},
	{"BAD_MATCH", []string{"BAD_TYPE", "BAD_LEN", "BAD_TAG", "BAD_DL_ADDR_MASK", "BAD_NW_ADDR_MASK", "BAD_WILDCARDS", "BAD_FIELD",
		"BAD_VALUE", "BAD_MASK", "BAD_PREREQ", "DUP_FIELD", "EPERM"}},
	{"FLOW_MOD_FAILED", []string{"UNKNOWN", "TABLE_FULL", "BAD_TABLE_ID", "OVERLAP", "EPERM", "BAD_TIMEOUT", "BAD_COMMAND", "BAD_FLAGS"}},
	{"GROUP_MOD_FAILED", []string{"GROUP_EXISTS", "INVALID_GROUP", "WEIGHT_UNSUPPORTED", "OUT_OF_GROUPS", "OUT_OF_BUCKETS",
		"CHAINING_UNSUPPORTED", "WATCH_UNSUPPORTED", "LOOP", "UNKNOWN_GROUP", "CHAINED_GROUP", "BAD_TYPE", "BAD_COMMAND", "BAD_BUCKET", "BAD_WATCH", "EPERM"}},
	{"PORT_MOD_FAILED", []string{"BAD_PORT", "BAD_HW_ADDR", "BAD_CONFIG", "BAD_ADVERTISE", "EPERM"}},
	{"TABLE_MOD_FAILED", []string{"BAD_TABLE", "BAD_CONFIG", "EPERM"}},
	{"QUEUE_OP_FAILED", []string{"BAD_PORT", "BAD_QUEUE", "EPERM"}},
	{"SWITCH_CONFIG_FAILED", []string{"BAD_FLAGS", "BAD_LEN", "EPERM"}},
	{"ROLE_REQUEST_FAILED", []string{"STALE", "UNSUP", "BAD_ROLE"}},
	{"METER_MOD_FAILED", []string{"UNKNOWN", "METER_EXISTS", "INVALID_METER", "UNKNOWN_METER", "BAD_COMMAND", "BAD_FLAGS", "BAD_RATE",
		"BAD_BURST", "BAD_BAND", "BAD_BAND_VALUE", "OUT_OF_METERS", "OUT_OF_BANDS"}},
	{"TABLE_FEATURES_FAILED", []string{"BAD_TABLE", "BAD_METADATA", "BAD_TYPE", "BAD_LEN", "BAD_ARGUMENT", "EPERM"}},
}

// bundleErrors has the names of the ONF's bundle errors from 2300 on (EXT-230).
var bundleErrors = [...]string{"UNKNOWN", "EPERM", "BAD_ID", "BUNDLE_EXIST", "BUNDLE_CLOSED", "OUT_OF_BUNDLES", "BAD_TYPE", "BAD_FLAGS",
	"MSG_BAD_LEN", "MSG_BAD_XID", "MSG_UNSUP", "MSG_CONFLICT", "MSG_TOO_MANY", "MSG_FAILED", "TIMEOUT", "BUNDLE_IN_PROGRESS"}

// onfErrors and niciraErrors have names of errors that Open vSwitch sends as an
// experimenter's in OpenFlow 1.3 (`ovs-ofctl print-error`).
var onfErrors = map[uint16]string{
	2360: "FLOW_MOD_FAILED/BAD_PRIORITY", 2370: "ASYNC_CONFIG_FAILED/INVALID", 2371: "ASYNC_CONFIG_FAILED/UNSUPPORTED",
	2372: "ASYNC_CONFIG_FAILED/EPERM", 2600: "BAD_INSTRUCTION/DUP_INST", 2640: "BAD_REQUEST/MULTIPART_REQUEST_TIMEOUT",
	2641: "BAD_REQUEST/MULTIPART_REPLY_TIMEOUT", 4250: "BAD_ACTION/BAD_SET_MASK", 4443: "BAD_PROPERTY/TOO_MANY",
	4444: "BAD_PROPERTY/DUP_TYPE", 4445: "BAD_PROPERTY/BAD_EXPERIMENTER", 4446: "BAD_PROPERTY/BAD_EXP_TYPE",
	4447: "BAD_PROPERTY/BAD_EXP_VALUE", 4448: "BAD_PROPERTY/EPERM",
}

var niciraErrors = map[uint16]string{
	2: "BAD_REQUEST/NXM_INVALID", 3: "BAD_REQUEST/NXM_BAD_TYPE", 4: "BAD_REQUEST/MUST_BE_ZERO", 5: "BAD_REQUEST/BAD_REASON",
	10: "BAD_REQUEST/UNENCODABLE_ERROR", 11: "BAD_ACTION/MUST_BE_ZERO", 12: "FLOW_MOD_FAILED/HARDWARE",
	13: "FLOW_MOD_FAILED/BAD_TABLE_ID", 15: "BAD_ACTION/BAD_CONJUNCTION", 34: "RESUME/NOT_SUPPORTED", 35: "RESUME/STALE",
	37: "FLOW_MOD_FAILED/INVALID_TLV_FIELD", 42: "BAD_ACTION/CT_DATAPATH_SUPPORT", 43: "BAD_MATCH/CT_DATAPATH_SUPPORT",
}

// errorHints says of the errors that a controller meets what to look for.
var errorHints = map[[2]uint16]string{
	{errorHello, 0}:       "the switch offers no OpenFlow 1.3: add OpenFlow13 to the bridge's protocols",
	{errorBadRequest, 10}: "another controller has claimed the switch with a higher generation",
	{2, 4}:                "an output port that the switch cannot have",
	{2, 10}:               "an action on a field needs a match that makes the field present",
	{3, 2}:                "goto must go to a later table",
	{4, 7}:                "a value that the field cannot have",
	{4, 8}:                "the field cannot be matched under this mask",
	{4, 9}:                "the field needs a match on what it presupposes, such as the Ethernet type",
	{4, 10}:               "a field is matched twice",
	{5, 1}:                "the table is full (Flow_Table.flow_limit)",
	{errorRole, 0}:        "the generation is older than one that the switch has seen",
}

// text returns the error's name with its numbers, and a hint or "".
func (e *Error) text() (name, hint string) {
	if e.Type == errorExperimenter {
		name, whose := "", fmt.Sprintf("experimenter %#x", e.Experimenter)
		switch e.Experimenter {
		case experimenterONF:
			whose = "ONF"
			if n := int(e.Code) - 2300; n >= 0 && n < len(bundleErrors) {
				name = "BUNDLE_FAILED/" + bundleErrors[n] + " "
			} else if s := onfErrors[e.Code]; s != "" {
				name = s + " "
			}
		case experimenterNicira:
			whose = "Nicira"
			if s := niciraErrors[e.Code]; s != "" {
				name = s + " "
			}
		}
		return fmt.Sprintf("%s(%s %d)", name, whose, e.Code), ""
	}
	if int(e.Type) >= len(errorNames) {
		return fmt.Sprintf("error %d/%d", e.Type, e.Code), ""
	}
	t := &errorNames[e.Type]
	code := fmt.Sprint(e.Code)
	if int(e.Code) < len(t.codes) {
		code = t.codes[e.Code]
	}
	return fmt.Sprintf("%s/%s (%d/%d)", t.name, code, e.Type, e.Code), errorHints[[2]uint16{e.Type, e.Code}]
}
