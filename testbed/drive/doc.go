// Package drive gives tests a testbed with the product running on it, driven as
// a user does: by the commands of nvgre-ofctl and by its admin socket.
package drive
