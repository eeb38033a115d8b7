package broker

import (
	"fmt"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// scramClient is one login's conversation (RFC 5802), for sarama.
type scramClient struct {
	mechanism string
	conv      *scram.ClientConversation
}

// Begin is part of sarama.SCRAMClient.
func (s *scramClient) Begin(user, password, authorization string) error {
	hash := scram.SHA256
	if s.mechanism == sarama.SASLTypeSCRAMSHA512 {
		hash = scram.SHA512
	}
	c, err := hash.NewClient(user, password, authorization)
	if err != nil {
		return fmt.Errorf("prepare login of %q: %w", user, err)
	}
	s.conv = c.NewConversation()
	return nil
}

// Step is part of sarama.SCRAMClient.
func (s *scramClient) Step(challenge string) (string, error) { return s.conv.Step(challenge) }

// Done is part of sarama.SCRAMClient.
func (s *scramClient) Done() bool { return s.conv.Done() }
