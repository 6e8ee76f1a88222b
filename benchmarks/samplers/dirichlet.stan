functions {
  // Log density of answers to all cells less what holds them alone: the concentrations of a
  // cell add up to phi, and effective answers need not be integers.
  real dirichlet_multinomial_kernel(vector counts, vector n, vector alpha, real phi) {
    return sum(lgamma(counts + alpha)) - sum(lgamma(alpha))
           + size(n) * lgamma(phi) - sum(lgamma(n + phi));
  }
  // Log shares of a question's cells, centred over its options.
  matrix log_shares(matrix probs, real log_floor, real usual_floor) {
    int n_options = cols(probs);
    real unit = log1p(inv(usual_floor)) / log1p_exp(-log_floor);
    matrix[rows(probs), n_options] logs = unit * log(probs + exp(log_floor));
    return logs - rep_matrix(logs * rep_vector(inv(n_options), n_options), n_options);
  }
}
data {
  int n_questions;
  int n_groups;
  int n_shapes;
  int n_labels;
  int max_options;
  int max_slots;
  int n_cells;
  int n_answers;
  array[n_questions] int n_options;
  array[n_questions] int n_slots;
  array[n_questions, max_slots] int group;
  array[n_questions] int shape;
  array[n_questions, max_options] int label;
  array[n_questions] matrix[max_slots, max_slots] peers;
  array[n_questions] vector[max_options] place;
  array[n_questions] vector[max_options] curve;
  vector[n_answers] probs;
  vector[n_answers] counts;
  vector[n_cells] n;
  matrix[n_groups, n_groups - 1] basis;
  matrix[4, 2] slopes_prior;
  matrix[2, 2] scale_prior;
  real shape_spread_prior;
  vector[2] log_kappa_prior;
  vector[2] log_phi_prior;
  vector[2] group_spread_prior;
  vector[2] label_spread_prior;
  real floor_prior;
  // DATA of each size
}
parameters {
  real beta_between;
  real beta_within;
  real beta_contradiction;
  real log_floor;
  real scale_linear;
  real scale_curve;
  matrix[n_shapes, max_options] shape_logit;
  real<lower=0> sd_label;
  vector[n_labels] label_unit;
  real<lower=0> kappa;
  real<lower=0> phi;
  real<lower=0> sd_between;
  real<lower=0> sd_within;
  real<lower=0> sd_scale_linear;
  real<lower=0> sd_scale_curve;
  vector[n_groups - 1] contrast_between;
  vector[n_groups - 1] contrast_within;
  vector[n_groups - 1] contrast_scale_linear;
  vector[n_groups - 1] contrast_scale_curve;
  // PARAMETERS of each size
}
transformed parameters {
  vector[n_groups] off_between = sd_between * (basis * contrast_between);
  vector[n_groups] off_within = sd_within * (basis * contrast_within);
  vector[n_groups] off_linear = sd_scale_linear * (basis * contrast_scale_linear);
  vector[n_groups] off_curve = sd_scale_curve * (basis * contrast_scale_curve);
}
model {
  array[n_questions] vector[max_options] shares;
  vector[n_answers] alpha;
  vector[n_labels + 1] label_logit = append_row(0, sd_label * label_unit);
  int at = 1;
  // SHARES of each size

  beta_between ~ normal(slopes_prior[1, 1], slopes_prior[1, 2]);
  beta_within ~ normal(slopes_prior[2, 1], slopes_prior[2, 2]);
  beta_contradiction ~ normal(slopes_prior[3, 1], slopes_prior[3, 2]);
  log_floor ~ normal(slopes_prior[4, 1], slopes_prior[4, 2]);
  scale_linear ~ normal(scale_prior[1, 1], scale_prior[1, 2]);
  scale_curve ~ normal(scale_prior[2, 1], scale_prior[2, 2]);
  to_vector(shape_logit) ~ normal(0, shape_spread_prior);
  sd_label ~ gamma(label_spread_prior[1], label_spread_prior[2]);
  label_unit ~ std_normal();
  kappa ~ lognormal(log_kappa_prior[1], log_kappa_prior[2]);
  phi ~ lognormal(log_phi_prior[1], log_phi_prior[2]);
  sd_between ~ gamma(group_spread_prior[1], group_spread_prior[2]);
  sd_within ~ gamma(group_spread_prior[1], group_spread_prior[2]);
  sd_scale_linear ~ gamma(group_spread_prior[1], group_spread_prior[2]);
  sd_scale_curve ~ gamma(group_spread_prior[1], group_spread_prior[2]);
  contrast_between ~ std_normal();
  contrast_within ~ std_normal();
  contrast_scale_linear ~ std_normal();
  contrast_scale_curve ~ std_normal();

  for (q in 1:n_questions) {
    int k = n_options[q];
    int s = n_slots[q];
    array[s] int g = group[q, 1:s];
    row_vector[k] z = place[q, 1:k]';
    row_vector[k] z2 = curve[q, 1:k]';
    // What the LLM says of the question, and of each group beyond that.
    matrix[s, k] logs
      = log_shares(to_matrix(segment(probs, at, s * k), s, k, 0), log_floor, floor_prior);
    row_vector[k] between = rep_row_vector(inv(s), s) * logs;
    matrix[s, k] within = logs - rep_matrix(between, s);
    matrix[s, k] contradiction = peers[q, 1:s, 1:s] * within;
    matrix[s, k] own = within - contradiction;
    vector[k] mean = softmax(
      beta_between * between' + scale_linear * z' + scale_curve * z2'
      + shape_logit[shape[q], 1:k]' + label_logit[label[q, 1:k]]);
    matrix[s, k] logits
      = rep_matrix(log(shares[q, 1:k])', s)
        + diag_pre_multiply(beta_within + off_within[g], own)
        + beta_contradiction * contradiction
        + off_between[g] * between + off_linear[g] * z + off_curve[g] * z2;
    shares[q, 1:k] ~ dirichlet(kappa * mean);
    for (row in 1:s) {
      alpha[at:(at + k - 1)] = phi * softmax(logits[row]');
      at += k;
    }
  }
  target += dirichlet_multinomial_kernel(counts, n, alpha, phi);
}
