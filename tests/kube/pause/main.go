// What a pod of the tests runs: it says one line and waits until it is told to end. It also stands
// in for the container that holds a pod's namespaces, which nobody could download here.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM)
	fmt.Println("running")
	<-told
}
