// Package api is the REST interface of the controller: its types, its server,
// and the OpenAPI document that is generated from both. The client is in package
// api/client.
//
// An object is at /v1/ and the text of its key (tenant.Key), so that to put the
// same object twice is to put it once. Everything is read at one revision.
// docs/API.md describes it for users.
package api

//go:generate go test . -run ^TestOpenAPIFile$ -update
