// Package broker is how a Kafka is reached: TLS and SASL, for every client of strata's.
//
// Purpose: canal/kafka writes and sync/kafka reads; neither may import the other, and both must log in the same way.
//
// # Guarantees
//
// Security is checked as a whole before anything is dialled: an unreadable file, half a key pair, an unknown mechanism, a
// user without a password are all named at once, as fault.Invalid. With TLS the broker's certificate is always verified,
// against the system's authorities or CAFile; there is no switch that turns this off. TLS 1.2 at least. Files are read once:
// a new certificate needs a restart.
//
// A password is only in memory, never in an error and never in a log. SASL PLAIN without TLS sends it in clear text: it is
// refused unless the brokers' addresses are of this machine.
//
// # What it does not do
//
// No Kerberos, no OAUTHBEARER, no delegation tokens; no choice of brokers, no retries: that is the clients' business.
package broker
