// The cache of Argo CD in the tests: a server with the protocol of Redis, in memory, on loopback.
//
// miniredis has no clock of its own: without the ticks, nothing in it would ever expire.
package main

import (
	"log"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
)

func main() {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(os.Args[1]); err != nil {
		log.Fatal(err)
	}
	for range time.Tick(time.Second) {
		server.FastForward(time.Second)
	}
}
