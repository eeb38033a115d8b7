// Package node wires the rooms: it reads the configuration, opens the servers, and gives each room what it needs. It is
// the only place, beside tests, where adapters meet.
//
// # Opening
//
// Open connects and checks: settings that would lose data are refused (fault.Unsafe) with the line that fixes them,
// datasets are completed from the live schema, and nothing is changed on any server. OpenAndSetup makes strata's own tables
// (strata_part, strata_heartbeat; the control database) and, with `ledger: true`, the core's, first; demo, serve and ledger call it.
// Parts that a command does not need (capture, mover, ledger) are opened when they are first asked for.
//
// # Checking
//
// Check lists everything that is wrong with a configuration, by line: first what its text alone shows, then, where that is
// sound, what every server says of its settings, privileges, clock, tables and topics. It goes on after a server that is away
// and changes nothing anywhere. A privilege that comes by a role is taken to be there.
//
// # Capture
//
// Offline may name several endpoints: what only reads takes the first that answers when the process starts; the capture tries
// them in order again whenever its connection ends. Keys are locked for repair on the server that the stream reads.
//
// # Running
//
// Run starts the roles and returns when ctx ends or one of them fails for good. A capture leader whose term ended is
// started again, with a pause that doubles from 1 s to 30 s, so that terms do not run out. Stop order: front doors, then
// capture, then sync; Close then closes the index and the pools.
//
// # Health and metrics
//
// Every process that `serve` runs has the HTTP listener: /healthz (it lives), /readyz (every store answers), /metrics. Where the
// port is taken, a process of the roles router or core ends with fault.Busy; one of the others says so in its log and goes on
// without: a capture is worth more than its figures.
//
// /metrics is Prometheus's text form, from a registry of the node's own: nothing is global. Rooms know nothing of Prometheus.
// What they count is in their Stats, of which one picture is taken at each scrape and told by a table of families
// (metrics_<subject>.go); what has a distribution they tell a func of (syncer.Config.Lag, elastic.Config.Observe). Requests to
// the index are counted before it, whatever its technology. A role that doesn't run has no figures. docs/metrics.md shows them
// all; a test compares it with what is registered.
//
// # Folders
//
// Data/spill (capture.spill_dir) takes transactions that don't fit into memory; what an earlier process left there is removed.
// Data/index holds the embedded index; Data/cursor.key and Data/manifest.key are made on first use, readable by the owner
// only: cursors and manifests signed with another key are refused.
package node
