// Package soaktest is what the soak tests of several rooms share: the program under test as processes of their own, the
// servers and the wires between them, a load of transactions on the live database, and rounds that are named by a seed.
//
// A Rig is one round. What is killed in it, and what is proven about it, is for the room whose test it is: canal/soak looks at
// the topics, sync/soak at the index.
//
// The load changes few keys again and again, in two datasets, one with shards. Every image of a row has a v, which rises with
// each change of that key and over its deaths too, so that whoever sees two images of a key knows which one is older.
package soaktest
