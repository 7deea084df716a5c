// Command web is what the test images hold: a web server that tells its version and drains
// before it ends, and the few commands that tests run inside a container.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

const usage = `web [serve] [-version V] [-listen :8080] [-ready now|never|<delay>] [-drain 3s] [-fail N]
web pause            wait to be ended (the container that holds a pod's namespaces)
web exit CODE        end at once
web get URL          print what it answers; a path alone asks the API server as the pod's account
web write PATH       try to create a file`

func main() {
	command, arguments := "serve", os.Args[1:]
	if len(arguments) > 0 && arguments[0][0] != '-' {
		command, arguments = arguments[0], arguments[1:]
	}
	var err error
	switch {
	case command == "serve":
		err = serve(arguments)
	case command == "pause" && len(arguments) == 0:
		pause()
	case command == "exit" && len(arguments) == 1:
		err = exit(arguments[0])
	case command == "get" && len(arguments) == 1:
		err = get(arguments[0])
	case command == "write" && len(arguments) == 1:
		err = os.WriteFile(arguments[0], []byte("written\n"), 0o644)
	default:
		err = fmt.Errorf("unknown command; usage:\n%s", usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

// pause also buries the processes that lost their parent, where a pod shares one process list.
func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func exit(text string) error {
	code, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	fmt.Println("ending with", code)
	os.Exit(code)
	return nil
}
