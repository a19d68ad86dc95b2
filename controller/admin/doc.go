// Package admin is the daemon's window: a unix socket that only its user may
// open, with metrics, health, profiles and status over HTTP, and the client
// that the command line uses.
//
//	/metrics       Prometheus text
//	/healthz       200 while the daemon's loop turns
//	/readyz        200 when a policy is in force and every reachable host holds it; else 503 and what is missing
//	/v1/status     the Status as JSON
//	/debug/pprof/  profiles (net/http/pprof)
package admin
