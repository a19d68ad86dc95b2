// Package settings reads the settings of the controller daemon: the file
// nvgre.yaml, over it the environment (NVGRE_*), over that the command line.
//
// Every setting is declared once, in [Keys]; its flag, the name of its
// environment variable, its default, its check and its documentation all derive
// from that declaration. Reading is strict: a key that nobody declared, a value
// of the wrong kind or out of range is an error, and all errors are reported at
// once. The tenants' policy is not a setting; it has a file of its own.
package settings
