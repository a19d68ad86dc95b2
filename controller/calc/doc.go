// Package calc works out, change by change, what every host's switch should
// hold. It is pure: no input, no output, no clock, no goroutine.
package calc
