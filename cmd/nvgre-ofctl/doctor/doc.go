// Package doctor looks at one host, from the host itself, and says what keeps it
// from carrying tenant networks, and what to do: Open vSwitch, provider addresses
// and routes, and whether the underlay has room for what NVGRE adds (RFC 7637
// section 4.4). A controller sees none of the last three, since no database has
// them.
package doctor
