// Package onevm measures how long it takes until a VM that is added is
// everywhere: its record and its attachment are given, and every chassis that
// needs it has confirmed by barrier. The chassis are real Open vSwitch; what the
// switch itself takes to give a port its number is measured beside.
package onevm
