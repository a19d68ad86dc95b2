//go:build !linux

package fleet

// enoughFiles trusts the system.
func enoughFiles(int) error { return nil }
