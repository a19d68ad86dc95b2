// Package crosscheck holds the tests that let the product judge the simulated
// fleet: what a controller's parts do with a simulated host must be what they do
// with a real one. It is a package of its own because the testbed itself never
// reaches into the product.
package crosscheck
