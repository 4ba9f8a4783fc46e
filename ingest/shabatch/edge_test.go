//go:build unix

package shabatch

import (
	"crypto/sha256"
	"os"
	"syscall"
	"testing"
)

// TestPageEdge hashes messages that begin or end where memory does: who reads
// a byte beyond them ends the process.
func TestPageEdge(t *testing.T) {
	page := os.Getpagesize()
	// Two pages between two that nobody may read.
	mem, err := syscall.Mmap(-1, 0, 4*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(mem)
	room := mem[page : 3*page]
	copy(room, random(7, len(room)))
	for _, closed := range [][]byte{mem[:page], mem[3*page:]} {
		if err := syscall.Mprotect(closed, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	everyWay(t, func(t *testing.T, m means) {
		for n := range 300 {
			// A lane beside them has much to do yet when they have ended.
			messages := [][]byte{room, room[1:]}
			for i := range 18 {
				messages = append(messages, room[len(room)-n-i%2:], room[:n+i%3])
			}
			check1(t, m, messages)
			for _, count := range []int{4, 11, len(messages)} {
				for _, prefix := range prefixes {
					got := make([]Hash, count)
					m.sha256(got, prefix, messages[:count])
					if n%50 == 0 {
						check(t, m, prefix, messages[:count])
					}
					if want := sha256.Sum256(append(append([]byte{}, prefix...), messages[2]...)); got[2] != want {
						t.Fatalf("%d bytes before the edge: got %x, want %x", n, got[2], want)
					}
				}
			}
		}
	})
}
