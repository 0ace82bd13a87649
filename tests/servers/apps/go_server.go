// Go's own HTTP server, as its documentation shows it. bench/setup.sh builds it.
//
//	zoo-go 127.0.0.1:8000
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	lines     = 50
	linePause = 100 * time.Millisecond
	slow      = 2 * time.Second
)

func main() {
	// The release in the working folder; a broken one does not have it.
	fast, err := os.ReadFile("public/fast")
	if err != nil {
		log.Fatal(err)
	}
	version := strings.TrimSpace(string(fast))
	http.HandleFunc("/fast", func(w http.ResponseWriter, r *http.Request) {
		w.Write(fast)
	})
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(slow)
		w.Write(fast)
	})
	http.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		for number := 1; number <= lines; number++ {
			fmt.Fprintf(w, "%s line %d of %d\n", version, number, lines)
			w.(http.Flusher).Flush()
			time.Sleep(linePause)
		}
	})
	http.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		length, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Fprintf(w, "%s received %d bytes\n", version, length)
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
