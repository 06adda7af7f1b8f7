"""What is wrong with a whole net over its whole data, what that costs, and what would mend it."""

from microgradx.diagnosis.findings import Finding
from microgradx.diagnosis.proof import Proof, prove
from microgradx.diagnosis.result import Checkup, checkup
from microgradx.diagnosis.studies import Study, study
from microgradx.diagnosis.trials import Trial, Trials

__all__ = ["Checkup", "Finding", "Proof", "Study", "Trial", "Trials", "checkup", "prove", "study"]
