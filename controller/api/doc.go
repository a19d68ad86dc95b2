// Package api is the REST interface of the controller, and its client.
package api
