AGENT_TESTS := packages/common/tests

.PHONY: test-agent-fuzz
test-agent-fuzz: venv ## 100,000 frames of noise and of odd calls at the root agent (SEED=… repeats a run)
	BLOCKHOST_FUZZ_FRAMES=100000 BLOCKHOST_FUZZ_SEED=$(SEED) \
	  $(VENV)/bin/python -m pytest -q --timeout=3600 $(AGENT_TESTS)/test_root_agent_fuzz.py

.PHONY: test-agent-mutants
test-agent-mutants: venv ## Plant every known defect in agent and firewall, and see a test go red
	BLOCKHOST_MUTANTS=all $(VENV)/bin/python -m pytest -q --timeout=400 -k "planted or defect" \
	  $(AGENT_TESTS)/test_root_agent_mutants.py testing/integration/test_firewall_rules.py
