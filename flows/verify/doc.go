// Package verify proves that the flows of a network do what its policy means.
package verify
