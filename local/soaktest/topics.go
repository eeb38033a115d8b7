package soaktest

import (
	"errors"

	"github.com/IBM/sarama"

	"strata/local/localtest"
)

// Admin is somebody who does things to topics behind strata's back.
type Admin struct {
	*Rig
	sarama.ClusterAdmin
}

// Admin connects.
func (r *Rig) Admin() Admin {
	r.T.Helper()
	a, err := sarama.NewClusterAdminFromClient(r.Client())
	r.Fatal(err)
	return Admin{r, a}
}

// Remove deletes a topic and waits until it is gone.
func (a Admin) Remove(topic string) {
	a.T.Helper()
	a.Fatal(a.DeleteTopic(topic))
	localtest.Eventually(a.T, Limit, "the topic's end", func() (bool, error) {
		list, err := a.DescribeTopics([]string{topic})
		return err == nil && errors.Is(list[0].Err, sarama.ErrUnknownTopicOrPartition), err
	})
}

// Empty deletes the records of a topic up to now.
func (a Admin) Empty(topic string) {
	a.T.Helper()
	client := a.Client()
	ends := map[int32]int64{}
	for p := range int32(Partitions) {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		a.Fatal(err)
		ends[p] = end
	}
	a.Fatal(a.DeleteRecords(topic, ends))
}
