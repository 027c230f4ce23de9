// Package bus is a placeholder.
package bus
