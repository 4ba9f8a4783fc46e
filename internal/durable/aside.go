package durable

import (
	"fmt"
	"os"
	"time"
)

// Aside returns a name for a damaged file that is kept: name.damaged-<unix
// time>, or the next one that nothing has. Two files may be set aside within a
// second, and a clock may go back; what is kept is evidence, and never
// replaced.
func Aside(name string) string {
	for at := time.Now().Unix(); ; at++ {
		aside := fmt.Sprintf("%s.damaged-%d", name, at)
		if _, err := os.Lstat(aside); err != nil {
			return aside
		}
	}
}
