// Package respondertest helps to test answerers: a VM to answer, and a decoder of
// frames that is none of theirs.
package respondertest
