// kfake, the fake cluster of franz-go, as a process: one broker on loopback, with the settings that are given as NAME=VALUE; it prints its HOST:PORT
// and ends with its standard input.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	settings := map[string]string{}
	for _, given := range os.Args[1:] {
		name, value, _ := strings.Cut(given, "=")
		settings[name] = value
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(settings))
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	fmt.Println(cluster.ListenAddrs()[0])
	io.Copy(io.Discard, os.Stdin)
}
